"""Numbers and sentences that people read, the same in every face. Pure."""
