"""Large JSON values handled in pieces."""
