"""Evaluation: how good answers are, and how far people and models agree. Metrics of one answer, and means, intervals and
confusion matrices of many. Pure.

For other rooms: `metrics.measure`, `metrics.Measured`, `summary.ScoreSummary`, `kappa.cohen_kappa`, and for tests and
reports the formulas of `intervals` and `confusion`.
"""
