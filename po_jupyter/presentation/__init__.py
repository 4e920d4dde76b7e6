"""Numbers and sentences that people read, the same in every face, and a run drawn as HTML, as text and as the output of
a cell. Pure. Faces use `format`, `estimates`, `run_view`, `live_texts`, `run_output` and `terminal_text`; the server
`run_output`."""
