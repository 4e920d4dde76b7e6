"""The store over keys and values, whatever keeps them. Other rooms use `memory.MemoryStore`; a backend subclasses
`store.KeyedStore`."""
