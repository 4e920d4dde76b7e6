"""Votes and cascades: outputs of prompt tasks that take several answers, of one model or of one model after another.

For other rooms: `voted_output.voted_output`, `voted_output.VotedOutput`.
"""
