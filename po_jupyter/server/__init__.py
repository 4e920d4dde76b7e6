"""HTTP: one table of routes, authenticated, over an orchestrator; a Jupyter server extension.

For others: `extension.PoExtension`, `routing.api` (what an orchestrator is to be), `routes.TABLE`.
"""
