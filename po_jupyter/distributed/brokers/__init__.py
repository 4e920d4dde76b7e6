"""Message brokers: hints that a run waits, so that a node looks at once and only as many nodes look as have room."""
