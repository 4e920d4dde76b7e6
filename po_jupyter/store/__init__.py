"""Durable state: three Protocols (runs, log, documents), group commit, and the backends."""
