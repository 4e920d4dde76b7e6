"""The table of routes, the request that actions get, the schemas of bodies, and the Protocols of an
orchestrator."""
