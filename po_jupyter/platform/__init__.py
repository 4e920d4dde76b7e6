"""What differs between systems, and small ground parts: processes, private directories, crash points."""
