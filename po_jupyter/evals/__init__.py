"""Evaluation: how good answers are. Metrics of one answer, and means, intervals and confusion matrices of many. Pure.

For other rooms: `metrics.measure`, `metrics.Measured`, `summary.ScoreSummary`, and for tests and reports the
formulas of `intervals` and `confusion`.
"""
