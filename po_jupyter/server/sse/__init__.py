"""Server-sent events: streams that resume from an offset."""
