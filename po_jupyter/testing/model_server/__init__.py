"""A model server for tests: it speaks the vendors' wires and answers what a test says.

`python -m po_jupyter.testing.model_server` runs it as a process of its own.
"""

from po_jupyter.testing.model_server.server import ModelServer, paid_twice, read_log
from po_jupyter.testing.model_server.wire import Answer, Recorded, Reply

__all__ = ["Answer", "ModelServer", "Recorded", "Reply", "paid_twice", "read_log"]
