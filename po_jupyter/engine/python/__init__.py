"""Python tasks: code is found, loaded, and its stage functions are called with a context.

For other rooms: `context.Context` and `python_task.load`, for a task that is tried without a run.
"""
