"""Verbs about pipelines that run by the clock."""
