"""Embeddings through the gateway: passed on, counted and limited as calls are, and nothing else gets by with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from po_jupyter.testing.model_server import ModelServer, Reply
from tests.hub.test_calls import settled
from tests.hub.test_prices import as_alice, spent, submit  # noqa: F401  # as_alice is a fixture
from tests.support.hub import KEY, GatewayClient, running
from tests.support.orchestrator import orchestrator, wait_for_state
from tests.support.shared_runs import SharedRuns, shared_runs

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
OPENAI, GEMINI = "openai/v1/embeddings", "gemini/v1beta/models/gemini-embedding-001"
SMALL = "text-embedding-3-small"
CONTENT = {"parts": [{"text": "hello there"}]}
WIRES: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": (OPENAI, {"model": SMALL, "input": "hello there", "dimensions": 64, "encoding_format": "float"}),
    "several": (OPENAI, {"model": f"openai:{SMALL.upper()}", "input": ["a text", "hello there"]}),
    "mistral": ("mistral/embeddings", {"model": "mistral-embed", "input": ["hello there"]}),
    "gemini": (f"{GEMINI}:embedContent", {"content": CONTENT, "taskType": "CLUSTERING"}),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    tmp_path_factory: pytest.TempPathFactory, server: ModelServer
) -> AsyncIterator[GatewayClient]:
    limits = {"users": {"alice": {"usd_per_day": 40}}}
    async with running(tmp_path_factory.mktemp("gateway"), server.root_url, limits=limits) as client:
        yield client


@pytest.mark.parametrize("wire", WIRES)
async def test_each_wire_is_passed_on_and_counted(
    gateway: GatewayClient, vendor: ModelServer, wire: str
) -> None:
    path, body = WIRES[wire]
    before = await settled(gateway)
    status, answer, headers = await gateway.ask("POST", path, body)
    assert (status, headers["X-Po-From"]) == (200, "vendor"), answer
    assert await settled(gateway) - before == 2 * 1000  # "hello there" is two words, at $1 a million
    sent = vendor.requests[-1]
    assert KEY in (sent.headers.get("authorization", "")[7:], sent.headers.get("x-goog-api-key"))
    assert sent.body["model"].rpartition("/")[2] in (SMALL, "mistral-embed", "gemini-embedding-001")
    assert not {name for name in sent.body if "max" in name.lower()}


async def test_an_answer_without_a_usage_counts_in_full(gateway: GatewayClient, vendor: ModelServer) -> None:
    before = await settled(gateway)
    requests = [{"content": CONTENT, "model": "models/gemini-embedding-001"}, {"content": CONTENT}]
    status, answer, _ = await gateway.ask("POST", f"{GEMINI}:batchEmbedContents", {"requests": requests})
    assert status == 200 and len(answer["embeddings"]) == 2
    assert [one["model"] for one in vendor.requests[-1].body["requests"]] == ["models/gemini-embedding-001"] * 2
    assert 1000 * 1000 < await settled(gateway) - before < 1500 * 1000


async def test_a_refusal_costs_nothing_and_a_lost_answer_all(
    gateway: GatewayClient, vendor: ModelServer
) -> None:
    path, body = WIRES["openai"]
    before = await settled(gateway)
    vendor.enqueue(Reply(status=400))
    assert (await gateway.ask("POST", path, body))[0] == 400
    assert await settled(gateway) == before
    vendor.enqueue(Reply(status=502))
    await gateway.ask("POST", path, body)
    assert await settled(gateway) - before > 1000 * 1000


async def test_limits_hold_for_them(tmp_path: Path, vendor: ModelServer) -> None:
    limits = {"each_user": {"usd_per_day": 0.003, "models": ["openai:text-embedding-3-small"]}}
    path, body = WIRES["openai"]
    async with running(tmp_path, vendor.root_url, limits=limits) as gateway:
        answers = await asyncio.gather(*(gateway.ask("POST", path, body) for _ in range(40)))
        assert {status for status, _, _ in answers} <= {200, 429}
        status, answer, _ = await gateway.ask("POST", path, {**body, "input": "x" * 4000})
        assert (status, answer["error"]["code"]) == (400, "invalid_request")
        status, answer, _ = await gateway.ask("POST", *WIRES["mistral"])
        assert (status, answer["error"]["code"]) == (403, "model_not_allowed")
        assert await settled(gateway) <= 3_000_000


@pytest.fixture
def own() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def team(own: ModelServer, tmp_path: Path) -> Iterator[SharedRuns]:
    team = {"models": [f"openai:{SMALL}"], "prices": {f"openai:{SMALL}": {"input": 500, "output": 0}}}
    with shared_runs(tmp_path, own.root_url, team=team) as found:
        yield found


async def test_a_run_has_its_vectors_through_the_gateway(
    tmp_path: Path, team: SharedRuns, own: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PO_HUB_URL", team.gateway_url)
    task = {"name": "v", "for_each": "{{ seed.rows }}", "embed": "text {{ item }}"}
    body = {
        "pipeline": {"name": "p", "llm": {"model": f"openai:{SMALL}"}, "tasks": [task], "budget": {"usd": 10}},
        "seed": {"name": "s", "data": {"rows": [1, 2, 3]}},
    }
    async with orchestrator(tmp_path / "own", hub_url=team.gateway_url) as running_here:
        run = await submit(running_here, body)
        view = await wait_for_state(running_here, run, ("done",))
        assert view.tasks[0].items.done == 3
    assert view.usage.cost == pytest.approx(spent(team, f"openai:{SMALL}"), abs=1e-8)
    assert view.usage.cost > 0
    assert len(own.requests) == 3
