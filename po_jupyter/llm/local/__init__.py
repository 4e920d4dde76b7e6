"""The embedded model: its weights, fetched once, and its server process.

For other rooms: `server.LocalServer`; `weights.fetch`.
"""
