"""Maps over rows (`for_each`): each row with its own durable outcome, reused by content."""
