"""Maps whose rows go to a provider's batch API (`mode: batch`, G4).

    row ─► its stages, until they need an answer that is not there ─► a line of a file ─► budget ─► `batch.prepared`
        ─► the provider ─► `batch.submitted` ─► looks, for up to a day ─► results
        ─► each row's stages again: the journal answers what was asked before, the results what was asked last
        ─► an outcome, or the next question (an answer that did not fit): a line of the following batch

So a row is nowhere but in the log while it waits, and a restart goes the same way as a second round.
"""
