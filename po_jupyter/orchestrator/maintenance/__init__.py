"""What goes on by itself: retention, disk room, the cache of calls."""
