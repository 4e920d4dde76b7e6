"""Maps whose rows are shared out to child runs (`shards: N`), so that several machines work on them.

    map ──► shards.planned ──► child runs, each for rows of its own ──► their logs, merged into this one ──► shard.ended

A child run is a run like any other: a node claims it, it recovers by itself, it obeys cancels. It has the index, the
keys and the cache of the whole map, so its outcomes are those that the map itself would have come to; but it decides
nothing: what failed, and whether that is too much, is the map's business. The map holds no place meanwhile.

Whatever a child commits is copied into the log of the map, once: the event that says up to which record is in the same
transaction. So frame, rows, calls, bill and resume read one log, as without shards.
"""
