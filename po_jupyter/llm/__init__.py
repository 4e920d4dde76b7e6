"""Models: one seam to call them, the journal that pays for each call once, and the money it cost."""
