"""The durable store: three Protocols (runs, logs, documents), group commit, and the backends.

Other rooms use `protocol` (the Protocols and the shapes of records), `group_commit.GroupCommitter`, `documents.update`,
`files` (trees, row files, the intent log) and, where a store is opened, `opening.open_store` or
`keyed.memory.MemoryStore`; `disk.call_cache` is the cache of answers.
"""
