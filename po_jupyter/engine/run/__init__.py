"""The roof of the engine: a session holds the parts of a run, an executor works it off."""
