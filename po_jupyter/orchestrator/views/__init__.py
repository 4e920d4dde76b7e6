"""What people and programs read of runs: projections, pages of rows, artifacts, logs, usage."""
