"""Who works runs off: the holder of the store's lease with its workers, or a follower that asks it."""
