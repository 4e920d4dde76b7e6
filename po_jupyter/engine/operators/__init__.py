"""Operators over rows: pure functions that select, group, pair, rank and unfold, and keep where a row is in the seed.

An operator that asks a model is a map over items that it makes here (rows, groups, pairs), in rounds where what is
asked next depends on the answers; `plans.Plan` makes the items of each round and, of all the answers, the task's rows.
Nothing here evaluates an expression or asks anybody: the caller brings functions for both.

For other rooms: `plans`, `result_rows`, and one module for each operator.
"""
