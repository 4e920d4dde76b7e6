"""Evaluation: how good answers are, and how far people and models agree. Pure.

For other rooms: `kappa.cohen_kappa`.
"""
