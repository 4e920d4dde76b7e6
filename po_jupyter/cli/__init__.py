"""The `po` command: a face on the client, nothing more."""
