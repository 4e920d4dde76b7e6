"""The fields of a task that say how good its answers are."""
