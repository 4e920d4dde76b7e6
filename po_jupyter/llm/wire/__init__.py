"""HTTP to a vendor: the client, bounded bodies, errors, streams, readers of responses."""
