"""The calls of one attempt of a task or a row: settings, journal, cache policy."""
