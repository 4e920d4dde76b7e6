"""The log of a run, read again and added to: history, outcomes of rows, money spent."""
