"""What one run is doing: pure state, and a session of parts that works it off."""
