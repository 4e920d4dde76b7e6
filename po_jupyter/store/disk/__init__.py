"""The embedded store: SQLite through diskcache, JSON only. Other rooms use `store.DiskStore` and
`call_cache.AnswerCache`."""
