"""Views of runs: queries, results, projections of their logs, usage by day.

For the rest of the orchestrator: `queries.RunQueries`, `results.RunResults`, `projections.RunProjections`,
`daily_usage.DailyUsage`, `artifacts`.
"""
