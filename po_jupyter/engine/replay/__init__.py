"""The log of a run, read back and appended to: history, outcomes of rows, amounts spent.

For other rooms: `history` (`read_history`, `History`, `expand_output`), `run_log.RunLog`, `row_table.RowTable`,
`spent_from_log` (`SpentFromLog`, `Amount`).
"""
