"""Server-sent events: streams that resume from an offset, and the pump that sends them."""
