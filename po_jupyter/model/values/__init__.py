"""JSON values: free objects, large ones in chunks, lists that are read lazily."""
