"""`po schema`."""

from __future__ import annotations

import json
from typing import Any

from po_jupyter.model.editing.schema import pipeline_schema


def test_it_prints_the_schema_of_pipelines(po: Any) -> None:
    code, out, _ = po("schema")
    assert code == 0
    assert json.loads(out) == pipeline_schema()
