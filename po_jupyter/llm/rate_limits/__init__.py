"""Rate limits of providers: learned from settings, headers and refusals; calls are admitted accordingly. Pure: no I/O.

For other rooms: `limiter.Limiter` (one for all runs), `headers.limits_from`, `sliding_window.SlidingWindow`, `Cost`.
"""
