"""The worker: the program that works one run off, or many together, forked from a zygote or spawned.

For the orchestrator: `zygote.PROTOCOL` and `zygote.version`, `call_cache`. No other room imports it.
"""
