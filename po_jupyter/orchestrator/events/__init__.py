"""What changed: the change feed that wakes streams, and the audit log."""
