"""What people do to runs: cancel, resume, restart, fork, decide a gate, delete."""
