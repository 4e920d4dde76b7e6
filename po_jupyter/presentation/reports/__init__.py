"""Reports: a run as one file for people who were not there. `content` says what is in it; `html`, `markdown` and
`notebook` write it. Pure, and safe to open: nothing of a run is obeyed, only shown."""
