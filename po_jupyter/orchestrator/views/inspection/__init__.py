"""A look into one run: its rows as a table that is sorted and searched, its calls, its course and its cost over time.

For the rest of the orchestrator: `service.RunInspection`.
"""
