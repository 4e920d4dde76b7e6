"""Anthropic: Messages and Message Batches."""
