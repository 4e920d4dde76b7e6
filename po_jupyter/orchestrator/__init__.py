"""Who runs what, where and when, for one store."""
