"""The embedded store: SQLite through diskcache, JSON only."""
