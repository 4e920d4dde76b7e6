"""Run control: cancel, resume, restart, fork, decide a gate, delete.

For the rest of the orchestrator: `run_control.RunControl`, `fork.ForkPlanner`, `run_files`.
"""
