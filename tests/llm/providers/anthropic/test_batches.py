"""Anthropic's Message Batches in parts, and the search for a batch that carries no mark (P3)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import ModelRateLimited, ModelRefused, ModelUnavailable
from po_jupyter.llm.batches.protocol import CLOCK_SKEW, BatchSearch, batch_api_of
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.anthropic.batches import AnthropicBatches
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.http import Http
from po_jupyter.testing.model_server.batches import BatchServer
from tests.llm.batches.test_batches_wire import KEY, MODELS, TOKEN, ask, made
from tests.support.batch_http import FakeHttp

SINCE = 1_800_000_000.0
PATH = "/v1/messages/batches"
REQUEST = ChatRequest("anthropic:claude-haiku-4-5", (Message("user", "hi"),), max_tokens=9)


def batches(http: FakeHttp | None = None, base: str = "http://x") -> AnthropicBatches:
    fake: Any = http or FakeHttp()
    return AnthropicBatches(ProviderEndpoint(base, KEY), fake)


def batch(
    id: str, total: int = 1, *, ended: bool = True, created: float = SINCE, **more: Any
) -> dict[str, Any]:
    """A batch of that many requests, as the list has it."""
    counts = {"succeeded": total} if ended else {"processing": total}
    return {
        "id": id, "processing_status": "ended" if ended else "in_progress", "request_counts": counts,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created)),
        "results_url": "http://elsewhere/results" if ended else None, **more,
    }  # fmt: skip


async def test_the_file_is_sent_as_one_request_whatever_the_base_url_ends_with(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b'{"a":1}\n{"a":2}')
    for base in ("http://x", "http://x/v1", "http://x/v1/"):
        http = FakeHttp()
        http.answers[f"POST {PATH}"] = batch("b1", ended=False)
        found = batches(http, base)
        assert found.group(REQUEST) == ""
        assert await found.create(TOKEN, "", await found.upload(path, TOKEN)) == "b1"
        assert json.loads(http.sent[0].body) == {"requests": [{"a": 1}, {"a": 2}]}


@pytest.mark.parametrize(
    ("said", "state"),
    [("in_progress", "working"), ("canceling", "cancelling"), ("ended", "ended"), ("new", "working")],
)
async def test_the_states_of_a_batch(said: str, state: str) -> None:
    """Results are read below our own base URL, wherever the batch says that they are: a key goes nowhere else."""
    http = FakeHttp()
    counts = {"processing": 4, "succeeded": 3, "errored": 2, "canceled": 1, "expired": 1, "odd": 9}
    http.answers[f"GET {PATH}/b1"] = batch("b1", processing_status=said, request_counts=counts)
    found = await batches(http).status("b1")
    assert (found.state, found.total, found.done, found.expired) == (state, 11, 7, True)
    assert found.results == (f"{PATH}/b1/results",)
    for broken in ([], {}, {"id": 3}):
        http.answers[f"GET {PATH}/b1"] = broken
        with pytest.raises(ModelUnavailable):
            await batches(http).status("b1")


class Search:
    """A list of batches, searched for one of one request since `SINCE`."""

    def __init__(self, *listed: dict[str, Any], results: dict[str, bytes] | None = None) -> None:
        self.http = FakeHttp()
        self.http.answers[f"GET {PATH}?limit=100"] = {"data": list(listed), "has_more": False}
        for id, line in (results or {}).items():
            self.http.answers[f"GET {PATH}/{id}/results"] = line

    async def find(self, others: tuple[str, ...] = ()) -> BatchSearch:
        return await batches(self.http).find(TOKEN, since=SINCE, count=1, others=others)


def line(token: str = TOKEN) -> bytes:
    return json.dumps({"custom_id": f"{token}-0-1-0i"}).encode() + b"\n"


async def test_a_batch_is_recognised_by_the_token_in_its_results() -> None:
    found = Search(batch("theirs"), batch("ours"), results={"theirs": line("po0"), "ours": line()})
    assert await found.find() == BatchSearch("ours")
    assert await Search(batch("empty"), results={"empty": b""}).find() == BatchSearch()


async def test_only_what_may_be_ours_is_looked_into() -> None:
    """Neither of another size, nor one that is known to be somebody's, nor an older one."""
    old = batch("old", created=SINCE - CLOCK_SKEW - 60)
    found = Search(batch("large", 2), batch("other"), old)
    assert await found.find(others=("other",)) == BatchSearch()
    assert len(found.http.sent) == 1
    young = Search(batch("young", created=SINCE - CLOCK_SKEW + 60), results={"young": line()})
    assert await young.find() == BatchSearch("young"), "the clocks of two machines may differ"


async def test_one_that_still_works_leaves_it_undecided() -> None:
    """P3: it may be ours, so nothing is sent again yet; one that is ours for sure decides."""
    working = batch("working", ended=False)
    assert await Search(working).find() == BatchSearch(None, undecided=True)
    assert await Search(working, batch("ours"), results={"ours": line()}).find() == BatchSearch("ours")


async def test_results_that_are_gone_are_a_persons_decision() -> None:
    """P3: sending all rows anew might pay for them twice."""
    with pytest.raises(ModelRefused, match="may be the one that was sent before a crash") as caught:
        await Search(batch("gone", results_url=None)).find()
    assert "po restart" in caught.value.hint
    with pytest.raises(ModelUnavailable, match="does not say when"):
        await Search(batch("b", created_at="yesterday")).find()


async def test_a_batch_that_has_ended_is_cancelled_already() -> None:
    http = FakeHttp()
    for code in (400, 404, 409):
        http.answers[f"POST {PATH}/b1/cancel"] = (code, {"error": {"message": "it has ended"}})
        await batches(http).cancel("b1")
    for code, error in ((413, ModelRefused), (503, ModelUnavailable)):
        http.answers[f"POST {PATH}/b1/cancel"] = (code, {"error": {"message": "no"}})
        with pytest.raises(error):
            await batches(http).cancel("b1")


@pytest.mark.parametrize(
    ("result", "error", "says"),
    [
        ({"type": "expired"}, ModelUnavailable, "expired"),
        ({"type": "canceled"}, ModelUnavailable, "cancelled at the provider"),
        ({"type": "odd"}, ModelUnavailable, "no result that can be read"),
        (None, ModelUnavailable, "no result that can be read"),
        (
            {"type": "errored", "error": {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}},
            ModelRateLimited, "slow",
        ),
        (
            {"type": "errored", "error": {"type": "invalid_request_error", "message": f"bad {KEY}"}},
            ModelRefused, "bad ***",
        ),
    ],
)  # fmt: skip
def test_what_a_row_came_to(result: Any, error: type[Exception], says: str) -> None:
    found = batches().parse_line(json.dumps({"custom_id": "x", "result": result}).encode())
    assert found is not None
    assert found.cancelled == (says == "cancelled at the provider")
    with pytest.raises(error) as caught:
        batches().read_response(REQUEST, found)
    assert says in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.fixture
def server() -> Any:
    with BatchServer() as started:
        yield started


@pytest.mark.integration
async def test_who_cannot_be_told_apart_is_waited_for(server: BatchServer, tmp_path: Path) -> None:
    """P3: Anthropic's batches carry no mark before they have ended."""
    http = Http()
    environ = {"ANTHROPIC_BASE_URL": server.root_url, "ANTHROPIC_API_KEY": KEY}
    api = batch_api_of(Providers(environ, http=http).get(MODELS["anthropic"]))
    assert api is not None
    server.hold()
    since = time.time()
    id = await made(api, tmp_path, ask(MODELS["anthropic"]))
    assert await api.find(TOKEN, since=since, count=1, others=()) == BatchSearch(None, undecided=True)
    assert await api.find(TOKEN, since=since, count=2, others=()) == BatchSearch()
    assert await api.find(TOKEN, since=since, count=1, others={id}) == BatchSearch()
    server.release()
    assert await api.find(TOKEN, since=since, count=1, others=()) == BatchSearch(id)
    await http.aclose()
