"""A batch of `batch_server`, and how OpenAI and Anthropic write it and its results. References: see there."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from po_jupyter.testing.model_server.apis import whole
from po_jupyter.testing.model_server.wire import Answer, Recorded, Reply

_DAY = timedelta(hours=24)
_ANTHROPIC_ERRORS = {400: "invalid_request_error", 429: "rate_limit_error", 529: "overloaded_error"}
_OPENAI_WORDS = {
    "cancelled": ("batch_cancelled", "This request was cancelled."),
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
}


@dataclass(slots=True)
class Made:
    """One batch: `requests` in their order, as they came (`{custom_id, body}`)."""

    id: str
    key: str
    vendor: str
    requests: list[tuple[str, dict[str, Any]]]
    endpoint: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    input_file: str = ""
    model: str = ""
    at: float = field(default_factory=time.time)
    looks: int = 0
    cancelled_at: float | None = None
    ended: str = ""  # completed, cancelled, expired, failed
    errors: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)  # OpenAI's second file


def as_openai(made: Made) -> dict[str, Any]:
    """A batch as OpenAI says it."""
    at = int(made.at)
    status = made.ended or ("cancelling" if made.cancelled_at else "in_progress")
    return {
        "id": made.id,
        "object": "batch",
        "endpoint": made.endpoint,
        "model": made.model,
        "errors": {"object": "list", "data": made.errors} if made.errors else None,
        "input_file_id": made.input_file,
        "completion_window": "24h",
        "status": status,
        "output_file_id": f"output-of-{made.id}" if made.ended and made.results else None,
        "error_file_id": f"errors-of-{made.id}" if made.ended and made.failures else None,
        "created_at": at,
        "expires_at": at + 86_400,
        "request_counts": {
            "total": len(made.requests),
            "completed": len(made.results),
            "failed": len(made.failures),
        },
        "metadata": dict(made.metadata),
    }


def as_anthropic(made: Made, where: str) -> dict[str, Any]:
    """A batch as Anthropic says it; `where` is the origin of its results."""
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    if made.ended:
        kinds = {r["custom_id"]: r["result"]["type"] for r in made.results}
        for custom_id, _ in made.requests:
            counts[kinds.get(custom_id, "succeeded")] += 1
    else:
        counts["processing"] = len(made.requests)
    at = datetime.fromtimestamp(made.at, UTC)
    return {
        "id": made.id,
        "type": "message_batch",
        "processing_status": "ended" if made.ended else "canceling" if made.cancelled_at else "in_progress",
        "request_counts": counts,
        "created_at": at.isoformat(),
        "expires_at": (at + _DAY).isoformat(),
        "ended_at": datetime.now(UTC).isoformat() if made.ended else None,
        "archived_at": None,
        "cancel_initiated_at": at.isoformat() if made.cancelled_at else None,
        "results_url": f"{where}/v1/messages/batches/{made.id}/results" if made.ended else None,
    }


def answered(made: Made, n: int, custom_id: str, body: dict[str, Any], said: Answer) -> dict[str, Any]:
    """The result of the `n`-th request, as its vendor writes it."""
    reply = said if isinstance(said, Reply) else Reply(said if isinstance(said, str) else json.dumps(said))
    asked = Recorded(n, made.at, made.endpoint, {}, body, "")
    if made.vendor == "anthropic":
        if reply.status == 200:
            return {"custom_id": custom_id, "result": {"type": "succeeded", "message": whole(asked, reply)}}
        inner = {"type": _ANTHROPIC_ERRORS.get(reply.status, "api_error"), "message": reply.error}
        error = {"type": "error", "error": inner, "request_id": f"req-{n}"}
        return {"custom_id": custom_id, "result": {"type": "errored", "error": error}}
    good = reply.status == 200
    content = (
        whole(asked, reply) if good else {"error": {"message": reply.error, "type": "fault", "code": None}}
    )
    response = {"status_code": reply.status, "request_id": f"req-{n}", "body": content}
    return {"id": f"batch_req_{n}", "custom_id": custom_id, "response": response, "error": None}


def unanswered(made: Made, custom_id: str, how: str) -> dict[str, Any]:
    """The result of a request that had no answer when its batch ended."""
    if made.vendor == "anthropic":
        return {"custom_id": custom_id, "result": {"type": "canceled" if how == "cancelled" else "expired"}}
    code, message = _OPENAI_WORDS[how]
    error = {"code": code, "message": message}
    return {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": None, "error": error}


def good(result: Mapping[str, Any]) -> bool:
    """Whether a result of OpenAI's belongs into the file of answers."""
    return bool(result.get("response")) and result["response"]["status_code"] == 200


def lines(rows: list[dict[str, Any]]) -> bytes:
    """Results as a file."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
