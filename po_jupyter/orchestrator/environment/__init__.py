"""The environment of runs: interpreters, variables, keys, local models, checks before a start.

For the rest of the orchestrator: `service.EnvironmentService`, `preflight.Preflight`, `key_store.KeyStore`,
`local_models.LocalModels`, `interpreters`, `variables`.
"""
