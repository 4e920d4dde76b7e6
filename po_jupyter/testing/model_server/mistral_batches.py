"""The JSON of Mistral's batch jobs in a BatchServer. References: see `llm.providers.compatible.mistral`."""

from __future__ import annotations

import json
from collections.abc import Mapping

from po_jupyter.model.values.json import JsonObject
from po_jupyter.testing.model_server.batch_shapes import FakeBatch

_STATUSES = {
    "": "RUNNING", "completed": "SUCCESS", "cancelled": "CANCELLED", "expired": "TIMEOUT_EXCEEDED",
    "failed": "FAILED",
}  # fmt: skip


def new_mistral_job(id: str, key: str, body: JsonObject, text: bytes) -> FakeBatch:
    """The job of a file: its model is that of every row."""
    rows = [json.loads(line) for line in text.splitlines()]
    assert all(row.keys() == {"custom_id", "body"} for row in rows)
    (file,) = body["input_files"]
    requests = [(row["custom_id"], {"model": body["model"], **row["body"]}) for row in rows]
    batch = FakeBatch(id, key, "mistral", requests, body["endpoint"], body.get("metadata") or {}, file)
    batch.model = body["model"]
    return batch


def mistral_job(batch: FakeBatch) -> JsonObject:
    """The BatchJob object."""
    cancelling = batch.cancelled_at and not batch.status
    return {
        "id": batch.id,
        "object": "batch",
        "input_files": [batch.input_file],
        "endpoint": batch.endpoint,
        "model": batch.model,
        "metadata": dict(batch.metadata),
        "errors": batch.errors,
        "status": "CANCELLATION_REQUESTED" if cancelling else _STATUSES[batch.status],
        "created_at": int(batch.at),
        "total_requests": len(batch.requests),
        "completed_requests": len(batch.results) + len(batch.failures),
        "succeeded_requests": len(batch.results),
        "failed_requests": len(batch.failures),
        "output_file": f"output-of-{batch.id}" if batch.status and batch.results else None,
        "error_file": f"errors-of-{batch.id}" if batch.status and batch.failures else None,
    }


def mistral_list(jobs: list[JsonObject], query: Mapping[str, str]) -> JsonObject:
    """One page of jobs, of which `page` is the number."""
    size = int(query.get("page_size", "100"))
    first = int(query.get("page", "0")) * size
    return {"object": "list", "total": len(jobs), "data": jobs[first : first + size] or None}
