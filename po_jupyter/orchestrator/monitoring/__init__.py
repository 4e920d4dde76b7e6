"""Metrics of the runs and of the orchestrator, made when somebody asks for them.

For the rest of the orchestrator: `service.Monitoring`.
"""
