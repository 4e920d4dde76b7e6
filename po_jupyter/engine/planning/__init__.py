"""Plans of runs before they start: the check of a definition, and the estimate of its cost.

For other rooms: `check.check`, `estimate.estimate_run`.
"""
