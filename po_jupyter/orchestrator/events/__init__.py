"""Events of the orchestrator: the change feed that wakes streams, and the audit log.

For the rest of the orchestrator: `change_feed.ChangeFeed`, `audit_log.AuditLog`.
"""
