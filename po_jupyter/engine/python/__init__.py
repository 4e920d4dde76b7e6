"""Python tasks: code is found, loaded, and its stage functions are called with a context."""
