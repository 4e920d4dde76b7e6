"""Tools that a model may call: Python functions and MCP servers, by allow-list."""
