"""A store's meaning over keyed records, whatever keeps the records."""
