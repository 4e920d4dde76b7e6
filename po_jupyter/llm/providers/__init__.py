"""The providers, a module or a folder for each vendor, and the registry that makes them from model refs."""
