"""Moves of runs to the service of shared runs: `handover` is the side that gives, `reception` the one that takes.

A run is worked off in one place at any moment. It is given back by its worker and sent whole; then the old place notes
that it has moved (the commit of the move), and only then the new one has it worked off. Killed before that note the old
place goes on; after it the move is finished by the next start, or by asking again.
"""
