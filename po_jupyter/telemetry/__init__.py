"""Logs, with secrets redacted; hooks in, nothing out that was not asked for."""
