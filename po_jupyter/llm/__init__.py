"""Models: one seam to call them, the journal that pays for each call once, rate limits, prices and keys.

`chat` has the seam (`Provider`, `ChatRequest`, `ChatResponse`), `messages` the parts of a conversation; each sub-room
names in its own `__init__` what other rooms may use.
"""
