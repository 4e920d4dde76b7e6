"""Maintenance: retention, disk room, the cache of calls, usage.

For the rest of the orchestrator: `service.Maintenance` and `service.MaintenanceJobs`, `retention.RunCleaner`.
"""
