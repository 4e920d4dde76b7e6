"""The roof of the engine: a session holds the parts of a run, an executor works it off.

For workers: `session.open_session`, `executor.RunExecutor`. Nothing else of the engine imports this sub-room.
"""
