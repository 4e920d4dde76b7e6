"""Pure: events are folded into the state of a run, and from it is decided what is next. No I/O."""
