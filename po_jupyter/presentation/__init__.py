"""Numbers and sentences that people read, the same in every face. Pure. Faces use `format`, `estimates` and
`terminal_text`."""
