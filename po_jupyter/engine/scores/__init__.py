"""Scores of answers: metrics against what is expected, Python scorers, and models that judge.

For other rooms: `row_metrics.RowMetrics`, `scoring.Scoring`, `judge.JudgePrompt`, `python_scorers.scorer_problem`.
"""
