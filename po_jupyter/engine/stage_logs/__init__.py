"""What a stage prints, caught from its file descriptors into a log that grows while it runs."""
