"""Ground parts below every other room: processes, private directories, concurrency, crash points.

All of its modules are for every room; they import `errors` alone.
"""
