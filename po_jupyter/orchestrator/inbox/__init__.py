"""The watch folder: files dropped there become runs."""
