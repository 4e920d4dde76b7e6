"""Verbs about how good answers are."""
