"""The typed HTTP client of an orchestrator: async inside, blocking outside.

For other rooms: `discovery.connect`, `client.Client`, `run.Run`, `default.chat`, `async_client.AsyncClient` with
`Endpoint` and `TextDelta`, `headless` (the background orchestrator of a user) and `background_loop`.
"""
