"""The batches of a BatchServer, and their JSON in OpenAI's and Anthropic's APIs; those of the others are beside it.

References: see `batches`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from typing import cast

from po_jupyter.model.values.json import JsonObject
from po_jupyter.testing.model_server.apis import whole
from po_jupyter.testing.model_server.wire import Answer, Recorded, as_reply

_DAY = timedelta(hours=24)
_ANTHROPIC_ERRORS = {400: "invalid_request_error", 429: "rate_limit_error", 529: "overloaded_error"}
_OPENAI_WORDS = {
    "cancelled": ("batch_cancelled", "This request was cancelled."),
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
}


@dataclass(slots=True)
class FakeBatch:
    """One batch: `requests` in the order of arrival, as (custom id, body). `status` is "" while it runs."""

    id: str
    key: str
    vendor: str
    requests: list[tuple[str, JsonObject]]
    endpoint: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    input_file: str = ""
    model: str = ""
    at: float = field(default_factory=time.time)
    looks: int = 0
    cancelled_at: float | None = None
    status: str = ""  # completed, cancelled, expired, failed
    errors: list[JsonObject] = field(default_factory=list)
    results: list[JsonObject] = field(default_factory=list)
    failures: list[JsonObject] = field(default_factory=list)  # the second file of OpenAI and Mistral


def read_form_file(kind: str, body: bytes) -> bytes:
    """The file of an uploaded form whose purpose is `batch`."""
    form = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    fields: dict[str, bytes] = {}
    for piece in form.walk():
        if not piece.is_multipart():
            name = piece.get_param("name", header="content-disposition")
            fields[str(name)] = cast("bytes", piece.get_payload(decode=True))
    assert fields["purpose"].strip() == b"batch", "the purpose of the file"
    return fields["file"]


def new_openai_batch(id: str, key: str, body: JsonObject, text: bytes) -> FakeBatch:
    """The batch of an uploaded file."""
    rows = [json.loads(line) for line in text.splitlines()]
    assert all(row["url"] == body["endpoint"] and row["method"] == "POST" for row in rows)
    requests = [(row["custom_id"], row["body"]) for row in rows]
    file, metadata = body["input_file_id"], body.get("metadata") or {}
    return FakeBatch(
        id, key, "openai", requests, body["endpoint"], metadata, file, model=requests[0][1]["model"]
    )


def cursor_list(bodies: list[JsonObject], query: Mapping[str, str]) -> JsonObject:
    """One page of batches after that of an id, as OpenAI and Anthropic list them."""
    if after := query.get("after") or query.get("after_id"):
        bodies = bodies[[body["id"] for body in bodies].index(after) + 1 :]
    page = bodies[: int(query.get("limit", "20"))]
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return {"object": "list", "data": page, "has_more": len(bodies) > len(page), **ends}


def openai_batch(batch: FakeBatch) -> JsonObject:
    """The Batch object of OpenAI."""
    at = int(batch.at)
    status = batch.status or ("cancelling" if batch.cancelled_at else "in_progress")
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": status,
        "output_file_id": f"output-of-{batch.id}" if batch.status and batch.results else None,
        "error_file_id": f"errors-of-{batch.id}" if batch.status and batch.failures else None,
        "created_at": at,
        "expires_at": at + 86_400,
        "request_counts": {
            "total": len(batch.requests),
            "completed": len(batch.results),
            "failed": len(batch.failures),
        },
        "metadata": dict(batch.metadata),
    }


def anthropic_batch(batch: FakeBatch, origin: str) -> JsonObject:
    """The MessageBatch object of Anthropic; `origin` is the origin of its results."""
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    if batch.status:
        kinds = {r["custom_id"]: r["result"]["type"] for r in batch.results}
        for custom_id, _ in batch.requests:
            counts[kinds.get(custom_id, "succeeded")] += 1
    else:
        counts["processing"] = len(batch.requests)
    at = datetime.fromtimestamp(batch.at, UTC)
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if batch.status else "canceling" if batch.cancelled_at else "in_progress",
        "request_counts": counts,
        "created_at": at.isoformat(),
        "expires_at": (at + _DAY).isoformat(),
        "ended_at": datetime.now(UTC).isoformat() if batch.status else None,
        "archived_at": None,
        "cancel_initiated_at": at.isoformat() if batch.cancelled_at else None,
        "results_url": f"{origin}/v1/messages/batches/{batch.id}/results" if batch.status else None,
    }


def as_answer(batch: FakeBatch, n: int, body: JsonObject, answer: Answer) -> tuple[int, JsonObject]:
    """(status, body) of the answer to the `n`-th request, as to a single call."""
    reply = as_reply(answer)
    if reply.status == 200:
        return 200, whole(Recorded(n, batch.at, batch.endpoint, {}, body, ""), reply)
    return reply.status, {"error": {"message": reply.error, "type": "fault", "code": None}}


def answer_result(batch: FakeBatch, n: int, custom_id: str, body: JsonObject, answer: Answer) -> JsonObject:
    """The result of the `n`-th request, as its vendor writes it."""
    status, content = as_answer(batch, n, body, answer)
    if batch.vendor == "anthropic":
        if status == 200:
            return {"custom_id": custom_id, "result": {"type": "succeeded", "message": content}}
        inner = {"type": _ANTHROPIC_ERRORS.get(status, "api_error"), "message": content["error"]["message"]}
        error = {"type": "error", "error": inner, "request_id": f"req-{n}"}
        return {"custom_id": custom_id, "result": {"type": "errored", "error": error}}
    response = {"status_code": status, "request_id": f"req-{n}", "body": content}
    return {"id": f"batch_req_{n}", "custom_id": custom_id, "response": response, "error": None}


def missing_result(batch: FakeBatch, custom_id: str, status: str) -> JsonObject | None:
    """The result of a request that had no answer when its batch ended; None: its vendor writes none."""
    if batch.vendor in ("gemini", "mistral"):
        return None
    if batch.vendor == "anthropic":
        return {"custom_id": custom_id, "result": {"type": "canceled" if status == "cancelled" else "expired"}}
    code, message = _OPENAI_WORDS[status]
    error = {"code": code, "message": message}
    return {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": None, "error": error}


def is_success(result: JsonObject) -> bool:
    """Whether a result of OpenAI's or Mistral's belongs into the file of answers."""
    return bool(result.get("response")) and result["response"]["status_code"] == 200


def jsonl(rows: list[JsonObject]) -> bytes:
    """Results as the content of a JSONL file."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
