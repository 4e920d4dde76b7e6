"""What a task asks of its own run: add, skip, restart tasks, end the run. Checked, then applied."""
