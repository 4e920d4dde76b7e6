"""Maps whose rows go to a provider's batch API (`mode: batch`, G4).

    row ─► its stages, until one needs an answer that is not known ─► a line of a file ─► budget ─► `batch.prepared`
        ─► the provider ─► `batch.submitted` ─► polls, for up to a day ─► results
        ─► each row's stages again: the journal answers earlier requests, the results answer the last one
        ─► an outcome, or the next request (an answer that did not fit): a line of the following batch

So a row that waits is nowhere but in the log, and a restart goes the same way as a second round.

    BatchMap ──► Sender ──► RowRunner      rows without an answer into a BatchFile, as far as budgets allow
             ──► Collector ──► RowRunner   answers of a batch that ended to outcomes
             ──► OpenBatches               the batches at the provider, each change in the log first
             ──► BatchApi                  the provider's API, so that no batch is made twice

For other rooms: `cancel.wind_up`.
"""
