"""How good the answers of a run are, as a person gets it: scores.

For other rooms: `scores.Scores`, `scores.recorded_scores`, `scores.score_answers`, `scores.score_body`.
"""
