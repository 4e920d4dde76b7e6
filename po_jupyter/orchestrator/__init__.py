"""The orchestrator of one store: runs what, where and when. Parts by subject, put together by `service`.

For the server: `service.Orchestrator`, by name, in `server.lifecycle`; what it is to be is in `server.routing.api`.
"""
