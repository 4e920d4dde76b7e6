"""Logs sent elsewhere."""
