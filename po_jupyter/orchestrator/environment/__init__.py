"""Where runs run: interpreters, variables, keys, local models, checks before a start."""
