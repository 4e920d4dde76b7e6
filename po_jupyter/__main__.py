"""`python -m po_jupyter` is `po`."""

from po_jupyter.cli.main import main

main()
