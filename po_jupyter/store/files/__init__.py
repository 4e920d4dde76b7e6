"""Files beside the store, written atomically. Other rooms use `tree.Tree`, `row_files.RowFiles` and
`intent_log.IntentLog`."""
