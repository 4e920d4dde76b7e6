"""Operators of a task and vectors (`embed`): the fields, and what goes together with them."""
