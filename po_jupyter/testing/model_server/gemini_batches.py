"""The JSON of Gemini's batches in a BatchServer. References: see `llm.providers.gemini.batches`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from typing import cast

from po_jupyter.model.values.json import JsonObject
from po_jupyter.testing.model_server.batch_shapes import FakeBatch, as_answer
from po_jupyter.testing.model_server.wire import Answer

_STATES = {
    "": "RUNNING", "completed": "SUCCEEDED", "cancelled": "CANCELLED", "expired": "EXPIRED", "failed": "FAILED",
}  # fmt: skip
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 429: 8, 500: 13}  # google.rpc.Code of a status


def read_related(kind: str, body: bytes) -> bytes:
    """The file of an upload in two parts, the first of which describes it."""
    form = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    assert form.get_content_type() == "multipart/related", kind
    described, file = cast("list[Message]", form.get_payload())
    assert json.loads(_content(described))["file"]
    return _content(file)


def _content(part: Message) -> bytes:
    return cast("bytes", part.get_payload(decode=True))


def new_gemini_batch(model: str, id: str, key: str, body: JsonObject, text: bytes) -> FakeBatch:
    """The batch that `batchGenerateContent` makes of a file."""
    rows = [json.loads(line) for line in text.splitlines()]
    batch, file = body["batch"], body["batch"]["inputConfig"]["fileName"]
    made = FakeBatch(
        f"batches/{id}", key, "gemini", [(row["key"], row["request"]) for row in rows],
        f"/v1beta/models/{model}:generateContent", {"displayName": batch["displayName"]}, file,
    )  # fmt: skip
    made.model = model
    return made


def gemini_batch(batch: FakeBatch) -> JsonObject:
    """The operation of a batch."""
    state = "CANCELLING" if batch.cancelled_at and not batch.status else _STATES[batch.status]
    at = datetime.fromtimestamp(batch.at, UTC).isoformat()
    failed = sum("error" in result for result in batch.results)
    counts = {
        "requestCount": len(batch.requests),
        "successfulRequestCount": len(batch.results) - failed,
        "failedRequestCount": failed,
    }
    metadata: JsonObject = {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "name": batch.id,
        "model": f"models/{batch.model}",
        "displayName": batch.metadata["displayName"],
        "inputConfig": {"fileName": batch.input_file},
        "createTime": at,
        "updateTime": at,
        "batchStats": {name: str(count) for name, count in counts.items() if count},
        "state": f"BATCH_STATE_{state}",
    }
    operation: JsonObject = {"name": batch.id, "metadata": metadata}
    if batch.status:
        operation["done"] = True
    if batch.results and batch.status in ("completed", "cancelled"):
        output = {"responsesFile": f"files/{batch.id.replace('batches/', 'batch-')}"}
        metadata["output"] = output
        operation["response"] = output
    if batch.status == "failed":
        operation["error"] = batch.errors[0]
    elif batch.status == "cancelled":
        operation["error"] = {"code": 1, "message": "The operation was cancelled."}
    return operation


def gemini_result(batch: FakeBatch, n: int, key: str, body: JsonObject, answer: Answer) -> JsonObject:
    """A line of the results."""
    status, content = as_answer(batch, n, body, answer)
    if status == 200:
        return {"key": key, "response": content}
    return {"key": key, "error": {"code": _CODES.get(status, 14), "message": content["error"]["message"]}}


def gemini_list(batches: list[JsonObject], query: Mapping[str, str]) -> JsonObject:
    """One page of operations."""
    first, size = int(query.get("pageToken", "0")), int(query.get("pageSize", "50"))
    page: JsonObject = {"operations": batches[first : first + size]}
    if first + size < len(batches):
        page["nextPageToken"] = str(first + size)
    return page
