"""`python -m po_jupyter.hub_runs --data-dir DIR`: the service of shared runs, as a hub starts it."""

from po_jupyter.hub_runs.program import main

if __name__ == "__main__":
    raise SystemExit(main())
