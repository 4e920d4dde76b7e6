"""Plans of runs before they start: the check of a definition, its analysis, and the estimate of its cost.

For other rooms: `check.check`, `analysis.analyse`, `estimate.estimate_run`.
"""
