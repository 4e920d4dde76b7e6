"""Dispatch: has runs worked off, by the workers of the server that holds the store's lease.

For the rest of the orchestrator: `protocol.Dispatcher`. `service` makes a `LeasedDispatcher`, which is a
`LocalDispatcher` (the holder's) or a `Follower`.
"""
