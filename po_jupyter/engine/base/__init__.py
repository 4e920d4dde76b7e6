"""Small parts below every other of the engine: JSON values, deadlines, threads, interrupts, usage sums.

For other rooms: `interrupts`.
"""
