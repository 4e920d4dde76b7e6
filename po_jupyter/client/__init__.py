"""One typed HTTP client of an orchestrator, async inside and blocking outside."""
