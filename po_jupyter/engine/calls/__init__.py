"""The model calls of a run: settings, journal, cache policy, and the budget's room for each call.

For other rooms: `attempt_calls.StreamedText`.
"""
