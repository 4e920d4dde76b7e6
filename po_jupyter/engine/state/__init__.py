"""The state of a run, folded from its events, and the decisions that follow from it. Pure: no I/O.

For other rooms: `run_state`, `fold.fold`, `decide.decide`, `effective_pipeline`, `resume`.
"""
