"""Actions: one function for each route, by subject. `server.routes` says which belongs to which path."""
