"""Scores of runs: what was recorded, summed up; recorded answers scored anew; runs that judge recorded answers.

For other rooms: `service.RunScores`.
"""
