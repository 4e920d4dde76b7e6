"""Examinations of what somebody sent: definitions parsed and checked, runs estimated, in a process that can be killed.

For other rooms: `examiner.Examiner`, `operations.examine_here`.
"""
