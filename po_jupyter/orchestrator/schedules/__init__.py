"""Schedules: registered pipelines that run by the clock, each slot once.

For the rest of the orchestrator: `service.Schedules`, and `scheduler.Scheduler` over a `runner.SlotRunner`.
"""
