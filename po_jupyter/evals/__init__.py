"""Evaluation: how good answers are, and how far people and models agree. Pure.

Metrics of one answer; means, intervals and confusion matrices of many.

For other rooms: `metrics.measure`, `metrics.Measured`, `summary.ScoreSummary`, `kappa.cohen_kappa`, and for tests and
reports the formulas of `intervals` and `confusion`.
"""
