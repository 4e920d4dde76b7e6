"""Mistral's batch jobs in parts: a job's states, the search for one, lines of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.batches.protocol import CLOCK_SKEW, BatchSearch
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.compatible.mistral import MistralBatches
from po_jupyter.llm.specs import ProviderEndpoint
from tests.support.batch_http import FakeHttp

KEY = "mistral-batch-0123456789abcdef"
SINCE = 1_800_000_000.0
REQUEST = ChatRequest("mistral:mistral-small-latest", (Message("user", "hi"),), max_tokens=5)


def batches(http: FakeHttp | None = None) -> MistralBatches:
    fake: Any = http or FakeHttp()
    return MistralBatches(ProviderEndpoint("http://x/v1", KEY), fake)


async def status(**fields: Any) -> Any:
    http = FakeHttp()
    http.answers["GET /v1/batch/jobs/b1"] = {"id": "b1", "total_requests": 5, "completed_requests": 3, **fields}
    return await batches(http).status("b1")


async def test_a_job_is_of_one_model_and_carries_the_token(tmp_path: Path) -> None:
    """P3: it is found again by it after a crash."""
    http = FakeHttp()
    http.answers |= {"POST /v1/files": {"id": "f1"}, "POST /v1/batch/jobs": {"id": "b1", "status": "QUEUED"}}
    found = batches(http)
    line = json.loads(found.line("x-1", REQUEST))
    assert line == {
        "custom_id": "x-1",
        "body": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5},
    }
    path = tmp_path / "rows"
    path.write_bytes(b"{}")
    assert await found.upload(path, "po1") == "f1"
    assert await found.create("po1", found.group(REQUEST), "f1") == "b1"
    assert json.loads(http.sent[1].body) == {
        "input_files": ["f1"], "model": "mistral-small-latest", "endpoint": "/v1/chat/completions",
        "metadata": {"po_jupyter": "po1"}, "timeout_hours": 24,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "state", "expired", "missing"),
    [
        ("QUEUED", "working", False, ""), ("RUNNING", "working", False, ""), ("SUCCESS", "ended", False, ""),
        ("CANCELLATION_REQUESTED", "cancelling", False, ""), ("CANCELLED", "ended", False, "cancelled"),
        ("TIMEOUT_EXCEEDED", "ended", True, "expired"), ("A_WORD_OF_2027", "working", False, ""),
    ],
)  # fmt: skip
async def test_the_states_of_a_job(name: str, state: str, expired: bool, missing: str) -> None:
    found = await status(status=name, output_file="o1", error_file=None)
    assert (found.state, found.expired, found.total, found.done) == (state, expired, 5, 3)
    assert missing in found.missing and bool(found.missing) is bool(missing) and not found.error
    assert found.results == ("o1",)


async def test_a_failed_job_says_why() -> None:
    found = await status(status="FAILED", errors=[{"message": f"bad file {KEY}", "count": 5}])
    assert (found.state, found.error) == ("ended", "bad file ***") and "bad file" in found.missing
    assert (await status(status="FAILED")).error == "no reason"


async def test_a_search_stops_where_jobs_are_too_old_and_not_at_a_short_page() -> None:
    http = FakeHttp()
    young, old = SINCE, SINCE - CLOCK_SKEW - 1
    page = "GET /v1/batch/jobs?page={}&page_size=100&order_by=-created".format
    http.answers |= {
        page(0): {"data": [{"id": "b2", "created_at": young, "metadata": None}]},
        page(1): {"data": [{"id": "b1", "created_at": old, "metadata": {"po_jupyter": "po1"}}]},
    }
    find = batches(http).find
    assert await find("po1", since=SINCE, count=1, others=()) == BatchSearch("b1")
    assert await find("po2", since=SINCE, count=1, others=()) == BatchSearch()
    assert len(http.sent) == 4
    aside = {"id": "b0", "created_at": old, "metadata": None}  # an old job among young ones ends no search
    http.answers[page(0)] = {"data": [{"id": "b2", "created_at": young, "metadata": None}, aside]}
    assert await find("po1", since=SINCE, count=1, others=()) == BatchSearch("b1")
    http.answers[page(0)] = {"data": None}  # an account without a job
    assert await find("po1", since=SINCE, count=1, others=()) == BatchSearch()


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        ({"response": {"status_code": 422, "body": {"detail": "bad"}}}, ModelRefused, "bad"),
        ({"response": {"status_code": 400, "body": "no such role"}}, ModelRefused, "no such role"),
        ({"response": None, "error": {"message": f"late {KEY}"}}, ModelUnavailable, r"late \*\*\*"),
        ({"error": f"worker lost {KEY}"}, ModelUnavailable, r"worker lost \*\*\*"),
        ({}, ModelUnavailable, "no result that can be read"),
    ],
)
def test_a_line_without_an_answer(line: dict[str, Any], kind: type[Exception], text: str) -> None:
    found = batches()
    parsed = found.parse_line(json.dumps({"custom_id": "x", **line}).encode())
    assert parsed is not None
    with pytest.raises(kind, match=text):
        found.read_response(REQUEST, parsed)


async def test_a_job_that_has_ended_is_not_cancelled() -> None:
    http = FakeHttp()
    http.answers["POST /v1/batch/jobs/b1/cancel"] = (422, {"detail": "it has ended"})
    await batches(http).cancel("b1")
    http.answers["POST /v1/batch/jobs/b1/cancel"] = (500, {})
    with pytest.raises(ModelUnavailable):
        await batches(http).cancel("b1")
