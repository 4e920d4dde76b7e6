"""HTTP: one table of routes, authenticated, over an orchestrator; a Jupyter server extension."""
