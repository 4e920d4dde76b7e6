"""The types of the HTTP interface, for the panel: made from the OpenAPI document, `python -m tests.ui.api_types`."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from po_jupyter.server import openapi
from po_jupyter.server.routes import TABLE
from tests.support.panel_tools import UI, panel_tool

TYPES = UI / "src/api/schema.d.ts"


def generate() -> str:
    """The text of `schema.d.ts` as the product's routes have it now."""
    with tempfile.TemporaryDirectory() as folder:
        document, types = Path(folder, "openapi.json"), Path(folder, "schema.d.ts")
        document.write_text(json.dumps(openapi.document(TABLE)))
        subprocess.run(
            [*panel_tool("openapi-typescript"), document, "--output", types],
            cwd=UI,
            check=True,
            capture_output=True,
        )
        return types.read_text()


if __name__ == "__main__":
    TYPES.write_text(generate())
