"""Values that every room speaks of: pipelines, runs, events, seeds. No I/O. Every module may be used by all rooms."""
