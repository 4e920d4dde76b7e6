"""Values of runs: seeds, events, usage, and the view that people and programs get."""
