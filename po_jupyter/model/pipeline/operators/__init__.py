"""Operators of a task: the fields, and what goes together with them."""
