"""OpenAI's Batch API in parts: a batch's fields, the search for one, lines of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.batches.protocol import CLOCK_SKEW, BatchLine, BatchSearch
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.openai.batches import OpenAIBatches
from po_jupyter.llm.specs import ProviderEndpoint
from tests.support.batch_http import FakeHttp

KEY = "sk-batch-0123456789abcdef"
SINCE = 1_800_000_000.0
REQUEST = ChatRequest("openai:gpt-4o", (Message("user", "hi"),))


def batches(http: FakeHttp | None = None, api: str = "chat") -> OpenAIBatches:
    fake: Any = http or FakeHttp()
    return OpenAIBatches(ProviderEndpoint("http://x/v1", KEY), fake, lambda request: api)


async def status(**fields: Any) -> Any:
    http = FakeHttp()
    http.answers["GET /v1/batches/b1"] = {"id": "b1", **fields}
    return await batches(http).status("b1")


@pytest.mark.parametrize(("api", "path"), [("chat", "/v1/chat/completions"), ("responses", "/v1/responses")])
def test_a_batch_is_of_one_api_and_one_model(api: str, path: str) -> None:
    found = batches(api=api)
    assert found.group(REQUEST) == f"{path} gpt-4o"
    line = json.loads(found.line("x-1", REQUEST))
    assert (line["custom_id"], line["method"], line["url"], line["body"]["model"]) == (
        "x-1",
        "POST",
        path,
        "gpt-4o",
    )
    assert "stream" not in line["body"]


async def test_a_file_and_its_batch_carry_the_token(tmp_path: Path) -> None:
    """P3: it is found again by it after a crash."""
    http = FakeHttp()
    http.answers |= {
        "POST /v1/files": {"id": "file-1"},
        "POST /v1/batches": {"id": "b1", "status": "validating"},
    }
    found = batches(http)
    path = tmp_path / "rows"
    path.write_bytes(b"{}\n{}")
    assert await found.upload(path, "po1") == "file-1"
    assert await found.create("po1", "/v1/responses gpt-5", "file-1") == "b1"
    upload, create = http.sent
    assert b'filename="po1.jsonl"' in upload.body
    assert b"\r\n\r\n{}\n{}\r\n--" in upload.body
    sent = json.loads(create.body)
    assert (sent["input_file_id"], sent["endpoint"]) == ("file-1", "/v1/responses")
    assert sent["metadata"] == {"po_jupyter": "po1"}
    http.answers["POST /v1/files"] = {}
    with pytest.raises(ModelUnavailable, match="no id"):
        await found.upload(path, "po1")


@pytest.mark.parametrize(
    ("said", "state", "expired"),
    [
        ("validating", "working", False), ("in_progress", "working", False), ("finalizing", "working", False),
        ("cancelling", "cancelling", False), ("cancelled", "ended", False), ("completed", "ended", False),
        ("expired", "ended", True), ("failed", "ended", False), ("a word of 2027", "working", False),
    ],
)  # fmt: skip
async def test_the_states_of_a_batch(said: str, state: str, expired: bool) -> None:
    counts = {"total": 5, "completed": 2, "failed": 1}
    found = await status(status=said, request_counts=counts, output_file_id="o", error_file_id=None)
    assert (found.state, found.expired, found.total, found.done, found.results) == (
        state,
        expired,
        5,
        3,
        ("o",),
    )


async def test_a_refused_batch_says_why_and_in_which_lines() -> None:
    """P11: the error of the whole comes first, and without the key."""
    errors = [
        {"code": "bad", "message": "line is wrong", "line": 3},
        {"code": "token_limit_exceeded", "message": f"no {KEY}"},
        {"line": 4},
    ]  # fmt: skip
    found = await status(status="failed", errors={"data": errors})
    assert (found.error, found.code) == ("no ***", "token_limit_exceeded")
    assert found.lines == {3: "line is wrong", 4: "refused"}
    only_lines = await status(status="failed", errors={"data": errors[:1]})
    assert (only_lines.error, only_lines.code) == ("line is wrong", "bad")
    silent = await status(status="failed")
    assert (silent.error, silent.code, silent.lines) == ("no reason", "", {})
    assert (await status(status="completed", errors={"data": errors})).error == ""


def page(*batches: dict[str, Any], more: bool = False) -> dict[str, Any]:
    return {"data": list(batches), "has_more": more}


def listed(id: str, created: float = SINCE, token: str = "other") -> dict[str, Any]:
    return {"id": id, "created_at": created, "metadata": {"po_jupyter": token}}


async def test_the_search_goes_on_until_batches_are_older_than_ours() -> None:
    """P3: over pages, by the token alone; an account of years is not read to its beginning."""
    http = FakeHttp()
    first, second = "GET /v1/batches?limit=100", "GET /v1/batches?limit=100&after=b/2"
    http.answers |= {
        first: page(listed("b1"), listed("b/2"), more=True),
        second: page(listed("b3", token="po1")),
    }

    async def search() -> BatchSearch:
        return await batches(http).find("po1", since=SINCE, count=1, others=())

    assert await search() == BatchSearch("b3")
    old = SINCE - CLOCK_SKEW - 1
    http.answers[first] = page(listed("b1"), listed("b/2", created=old), more=True)
    http.sent.clear()
    assert await search() == BatchSearch()
    assert len(http.sent) == 1
    http.answers[first] = page(listed("b1"), more=False)
    assert await search() == BatchSearch()
    for broken in ({}, {"data": 3}, []):
        http.answers[first] = broken
        with pytest.raises(ModelUnavailable, match="list of batches"):
            await search()


async def test_a_batch_that_has_ended_is_cancelled_already() -> None:
    http = FakeHttp()
    for code in (400, 404, 409):
        http.answers["POST /v1/batches/b1/cancel"] = (code, {"error": {"message": "it is completed"}})
        await batches(http).cancel("b1")
    for code, error in ((413, ModelRefused), (503, ModelUnavailable)):
        http.answers["POST /v1/batches/b1/cancel"] = (code, {"error": {"message": "no"}})
        with pytest.raises(error):
            await batches(http).cancel("b1")


@pytest.mark.parametrize(
    ("error", "says", "reason"),
    [
        ({"code": "batch_expired", "message": "x"}, "the batch expired", "batch_expired"),
        ({"code": "batch_cancelled"}, "the batch was cancelled", "batch_cancelled"),
        ({"code": "odd", "message": f"about {KEY}"}, "odd: about ***", "odd"),
        (None, "no response: no reason", "no response"),
    ],
)
def test_a_row_that_was_not_answered_says_why(error: Any, says: str, reason: str) -> None:
    line = batches().parse_line(json.dumps({"custom_id": "x", "response": None, "error": error}).encode())
    assert line is not None
    assert line.cancelled == (reason == "batch_cancelled")
    with pytest.raises(ModelUnavailable) as caught:
        batches().read_response(REQUEST, line)
    assert says in caught.value.message
    assert caught.value.details["reason"] == reason


def test_an_answer_is_read_by_the_api_that_was_asked() -> None:
    body = {"choices": [{"message": {"content": "chat"}, "finish_reason": "stop"}], "model": "gpt-4o"}
    line = BatchLine("x", {"response": {"status_code": 200, "request_id": "r", "body": body}}, False)
    assert batches().read_response(REQUEST, line).text == "chat"
    output = [{"type": "message", "content": [{"type": "output_text", "text": "responses"}]}]
    body = {"status": "completed", "output": output, "model": "gpt-4o"}
    line = BatchLine("x", {"response": {"status_code": 200, "body": body}}, False)
    assert batches(api="responses").read_response(REQUEST, line).text == "responses"
