"""Values that every room speaks of: pipelines, runs, events, seeds. No I/O."""
