"""Chat Completions: the wire of OpenAI and of every server that speaks it, with their differences as data.

The vendors `openai` and `local` stand on it.
"""
