"""Files of a run: artifacts, fetched files, images, and `ctx.io`."""
