"""Before a run starts: is its definition sound, and what will it cost."""
