"""Numbers and sentences that people read, the same in every face, and a run drawn as HTML and as text. Pure. Faces use
`format`, `estimates`, `run_view`, `live_texts` and `terminal_text`."""
