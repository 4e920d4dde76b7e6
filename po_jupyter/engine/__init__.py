"""The work of one run: pure state, and a session of parts that executes it.

A worker uses `run.session.open_session` and `run.executor.RunExecutor`. Between sub-rooms parts are used by the
protocols of `ports`; a sub-room imports only those below it: ports, base, state, stage_logs, replay, files, lifecycle,
budgets, tools, calls, chat, prompts, control, python, maps, planning, run.
"""
