"""`python -m po_jupyter.hub --config limits.yaml`: the gateway, as a hub starts it or by itself."""

from po_jupyter.hub.program import main

if __name__ == "__main__":
    raise SystemExit(main())
