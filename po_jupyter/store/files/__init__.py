"""Files beside the store: trees of runs, files of rows, written atomically under an intent log."""
