"""Directives of tasks to their own run: add or skip tasks, ask for a decision. Checked, then applied.

For other rooms: `control.Control` and `control.Rehearsal`, for a task that is tried without a run.
"""
