"""API keys of providers: stored keys, the check of a pipeline's models before a run, and the online check.

For other rooms: `keys` (read by `orchestrator.environment.key_store`), `availability.environment_problems`,
`probe.probe`.
"""
