"""Several machines over one store: the store is the truth, a message is a hint, a claim under a fence is the lock."""
