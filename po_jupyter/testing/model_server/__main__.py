"""The model server as a program."""

import sys

from po_jupyter.testing.model_server.server import main

if __name__ == "__main__":
    sys.exit(main())
