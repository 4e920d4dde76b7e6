"""Uploads of row files: what travels as a file, and what stays in the request."""

from __future__ import annotations

import hashlib
import json

from po_jupyter.client.row_uploads import write_rows
from po_jupyter.model.run.row_file_ref import RowFileRef


def test_only_large_lists_become_files() -> None:
    rows = [{"a": i, "text": "x" * 100} for i in range(20_000)]
    upload = write_rows(rows)
    assert upload is not None
    upload.file.seek(0)
    data = upload.file.read()
    assert [json.loads(line) for line in data.splitlines()] == rows
    assert upload.ref == RowFileRef(hashlib.sha256(data).hexdigest(), 20_000, ("a", "text"))
    upload.file.close()
    assert write_rows(rows[:100]) is None
    assert write_rows(list(range(500))) is None
