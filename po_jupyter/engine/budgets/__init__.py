"""Limits of money and tokens: reserve before a call, settle after it, for a run and for a day."""
