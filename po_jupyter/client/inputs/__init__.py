"""Inputs of the client: pipelines and seeds of callers turned into what HTTP takes, and hints about local keys.

For the faces: `seeds.seed_of`, `kernel_keys.key_hints`.
"""
