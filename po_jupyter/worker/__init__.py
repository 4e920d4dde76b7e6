"""The worker: the program that works one run off, or many together, and the zygote that it is forked from.

For the orchestrator: `zygote.PROTOCOL` and `zygote.version`, `call_cache`. No other room imports it.
"""
