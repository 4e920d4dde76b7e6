"""Logs with secrets redacted. Other rooms use `logging` (configure), `redaction.redactor` and `correlation`."""
