"""Routing: the table of routes, the request that actions get, schemas of bodies, Protocols of an orchestrator."""
