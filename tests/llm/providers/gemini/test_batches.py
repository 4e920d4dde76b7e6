"""Gemini's batches in parts: a batch's states, the search for one, lines of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import ModelKeyError, ModelRateLimited, ModelRefused, ModelUnavailable
from po_jupyter.llm.batches.protocol import BatchSearch
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.gemini.batches import GeminiBatches
from po_jupyter.llm.specs import ProviderEndpoint
from tests.support.batch_http import FakeHttp

KEY = "AIza-batch-0123456789abcdef"
REQUEST = ChatRequest("gemini:gemini-2.5-flash", (Message("user", "hi"),))


def batches(http: FakeHttp | None = None, base: str = "http://x/v1beta") -> GeminiBatches:
    fake: Any = http or FakeHttp()
    return GeminiBatches(ProviderEndpoint(base, KEY), fake)


async def status(state: str, **fields: Any) -> Any:
    http = FakeHttp()
    stats = {"requestCount": "5", "successfulRequestCount": "2", "failedRequestCount": "1"}
    metadata = {"state": state, "batchStats": stats, **fields.pop("metadata", {})}
    http.answers["GET /v1beta/batches/b1"] = {"name": "batches/b1", "metadata": metadata, **fields}
    return await batches(http).status("batches/b1")


def test_a_line_has_a_key_and_a_batch_one_model() -> None:
    """Matched by key: the order of results is nobody's promise that we need."""
    found = batches()
    assert found.group(REQUEST) == "models/gemini-2.5-flash"
    line = json.loads(found.line("x-1", REQUEST))
    assert line["key"] == "x-1" and line["request"]["contents"][0]["parts"] == [{"text": "hi"}]
    with pytest.raises(ModelRefused, match="not the name"):
        found.group(ChatRequest("gemini:../files", (Message("user", "hi"),)))


async def test_a_batch_carries_the_token_as_its_name(tmp_path: Path) -> None:
    """P3: it is found again by it after a crash."""
    http = FakeHttp()
    http.answers |= {
        "POST /upload/v1beta/files": {"file": {"name": "files/f1"}},
        "POST /v1beta/models/gemini-2.5-flash:batchGenerateContent": {"name": "batches/b1"},
    }
    found = batches(http)
    path = tmp_path / "rows"
    path.write_bytes(b"{}\n{}")
    assert await found.upload(path, "po1") == "files/f1"
    assert await found.create("po1", found.group(REQUEST), "files/f1") == "batches/b1"
    upload, create = http.sent
    assert b"\r\n\r\n{}\n{}\r\n--" in upload.body and b'"displayName"' in upload.body
    assert json.loads(create.body) == {"batch": {"displayName": "po1", "inputConfig": {"fileName": "files/f1"}}}
    http.answers["POST /upload/v1beta/files"] = {}
    with pytest.raises(ModelUnavailable, match="no name"):
        await found.upload(path, "po1")


@pytest.mark.parametrize("prefix", ["BATCH_STATE_", "JOB_STATE_"])
@pytest.mark.parametrize(
    ("state", "ours", "expired", "missing"),
    [
        ("PENDING", "working", False, ""), ("RUNNING", "working", False, ""),
        ("CANCELLING", "cancelling", False, ""), ("SUCCEEDED", "ended", False, ""),
        ("PARTIALLY_SUCCEEDED", "ended", False, ""), ("CANCELLED", "ended", False, "cancelled"),
        ("EXPIRED", "ended", True, "expired"), ("A_WORD_OF_2027", "working", False, ""),
    ],
)  # fmt: skip
async def test_the_states_of_a_batch(prefix: str, state: str, ours: str, expired: bool, missing: str) -> None:
    found = await status(prefix + state)
    assert (found.state, found.expired, found.total, found.done) == (ours, expired, 5, 3)
    assert missing in found.missing and bool(found.missing) is bool(missing) and not found.error


async def test_a_failed_batch_says_why_and_an_unknown_state_that_is_done_has_ended() -> None:
    error = {"code": 8, "message": f"too many tokens {KEY}"}
    found = await status("BATCH_STATE_FAILED", done=True, error=error)
    assert (found.state, found.code) == ("ended", "8")
    assert found.error == "too many tokens ***" and "too many" in found.missing
    assert (await status("WHO_KNOWS", done=True)).state == "ended"


@pytest.mark.parametrize("field", ["response", "metadata"])
async def test_results_are_requested_below_our_own_base_url(field: str, tmp_path: Path) -> None:
    """P10: a key goes nowhere else."""
    file = {"responsesFile": "files/a/../b"}
    fields = {"response": file} if field == "response" else {"metadata": {"output": file}}
    found = await status("BATCH_STATE_SUCCEEDED", done=True, **fields)
    (path,) = found.results
    assert path == "/download/v1beta/files/a%2F..%2Fb:download?alt=media"


async def test_a_search_goes_over_every_page() -> None:
    http = FakeHttp()
    first = {"name": "batches/b1", "metadata": {"displayName": "another"}}
    second = {"name": "batches/b2", "metadata": {"displayName": "po1"}}
    http.answers |= {
        "GET /v1beta/batches?pageSize=100": {"operations": [first], "nextPageToken": "n+2"},
        "GET /v1beta/batches?pageSize=100&pageToken=n%2B2": {"operations": [second]},
    }
    find = batches(http).find
    assert await find("po1", since=0, count=1, others=()) == BatchSearch("batches/b2")
    assert await find("po2", since=0, count=1, others=()) == BatchSearch()
    http.answers["GET /v1beta/batches?pageSize=100"] = {}  # an account without a batch
    assert await find("po1", since=0, count=1, others=()) == BatchSearch()


@pytest.mark.parametrize(
    ("code", "kind"),
    [(3, ModelRefused), (8, ModelRateLimited), (13, ModelUnavailable), (16, ModelKeyError), (400, ModelRefused),
     (4, ModelUnavailable), (99, ModelUnavailable), ("x", ModelUnavailable)],
)  # fmt: skip
def test_an_error_of_a_row_is_that_of_a_single_call(code: object, kind: type[Exception]) -> None:
    found = batches()
    line = found.parse_line(json.dumps({"key": "x", "error": {"code": code, "message": f"no {KEY}"}}).encode())
    assert line is not None
    with pytest.raises(kind) as caught:
        found.read_response(REQUEST, line)
    assert KEY not in str(caught.value) and getattr(caught.value, "outcome", None) is None


def test_a_row_that_was_cancelled() -> None:
    line = batches().parse_line(b'{"key": "x", "error": {"code": 1, "message": "cancelled"}}')
    assert line is not None and line.cancelled
    with pytest.raises(ModelUnavailable, match="cancelled at the provider"):
        batches().read_response(REQUEST, line)
