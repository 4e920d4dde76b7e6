"""HTTP of the client: transport, server-sent events, responses and the shapes of their JSON.

`Endpoint` (transport), `SseMessage` (sse), `START_HINT` (responses) and the TypedDicts of `payloads` are for the rest
of the client and for the faces.
"""

from po_jupyter.platform.lean_imports import import_httpx

import_httpx()  # before any of its modules does
