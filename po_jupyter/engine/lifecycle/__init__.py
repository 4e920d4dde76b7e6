"""The eleven stages of an attempt, with their snapshots and the log of failures."""
