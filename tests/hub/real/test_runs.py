"""Runs whose models are behind a gateway, with real workers and a gateway that fails as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidEnvironment
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.testing.model_server import ModelServer
from po_jupyter.testing.model_server.batches import BatchServer
from tests.support.fake_gateway import FakeGateway, Fault, GatewayThread
from tests.support.hub import KEY
from tests.support.hub import running as running_gateway
from tests.support.orchestrator import orchestrator, wait_for_state

pytestmark = pytest.mark.integration

TOKEN, NEXT = "token-of-ada-0123456789", "token-of-ada-9876543210"
OWNER = "local"


@pytest.fixture
def vendor() -> Iterator[ModelServer]:
    with ModelServer("fine", latency=0.1) as server:
        yield server


@pytest.fixture
def thread(vendor: ModelServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatewayThread]:
    gateway = FakeGateway(vendor.root_url)
    gateway.tokens = {TOKEN}
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", TOKEN)
    thread = GatewayThread(gateway)
    thread.start()
    monkeypatch.setenv("PO_HUB_URL", gateway.url)
    yield thread
    thread.stop()


def rows(count: int, model: str = "openai:gpt-5-mini", **llm: Any) -> dict[str, Any]:
    task = {"name": "label", "for_each": "{{ seed.rows }}", "prompt": "row {{ item }}.", "max_concurrency": 2}
    return {
        "pipeline": {"name": "p", "llm": {"model": model, "max_tokens": 50, **llm}, "tasks": [task]},
        "seed": {"name": "s", "data": {"rows": list(range(count))}},
    }


def in_batches(count: int, model: str) -> dict[str, Any]:
    body = rows(count, model)
    body["pipeline"]["tasks"][0]["mode"] = "batch"
    del body["pipeline"]["tasks"][0]["max_concurrency"]
    return body


async def submit(running: RunningOrchestrator, body: dict[str, Any]) -> str:
    view, _ = await running.submissions.submit(body, owner=OWNER, code_allowed=True)
    return view.id


def sent(vendor: ModelServer) -> list[str]:
    return [request.prompt for request in vendor.requests]


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_spent_budget_stops_the_run_which_keeps_its_rows_and_goes_on_after_the_reset(
    tmp_path: Path, vendor: ModelServer, thread: GatewayThread
):
    gateway = thread.gateway
    async with orchestrator(tmp_path, hub_url=gateway.url) as running:
        run = await submit(running, rows(10))
        await until(lambda: len(vendor.requests) >= 4)
        reset = {"X-Po-Resets-At": "2026-11-28T00:00:00Z"}
        gateway.standing = Fault(429, "budget_exceeded", "2.00 of 2.00 USD of today are used", reset)
        view = await wait_for_state(running, run, ("failed",))
        assert view.error["code"] == "budget_exceeded"
        assert view.error["details"]["resets_at"] == "2026-11-28T00:00:00Z"
        assert "2026-11-28T00:00:00Z" in view.error["message"]
        kept = view.tasks[0].items.done
        assert kept >= 4
        gateway.standing = None
        await running.control.resume(run, OWNER)
        view = await wait_for_state(running, run, ("done",))
        assert view.tasks[0].items.done == 10
    assert sorted(sent(vendor)) == sorted(f"row {n}." for n in range(10))  # nothing was paid twice


async def test_a_short_limit_costs_no_attempt_and_is_seen(
    tmp_path: Path, vendor: ModelServer, thread: GatewayThread
):
    limit = Fault(429, "rate_limited", "60 calls a minute", {"Retry-After": "0.05"})
    thread.gateway.faults.extend([limit] * 12)
    async with orchestrator(tmp_path, hub_url=thread.gateway.url) as running:
        run = await submit(running, rows(2, retry={"max_attempts": 1}))
        view = await wait_for_state(running, run, ("done",))
        assert view.tasks[0].items.failed == 0
        retries = [
            e["data"]["reason"]
            for r in running.store.records(run)
            for e in r["events"]
            if e["type"] == "call.retry"
        ]
    assert retries == ["a limit of the hub's gateway"] * 12
    assert len(vendor.requests) == 2


async def test_a_gateway_that_is_away_is_waited_for(tmp_path: Path, vendor: ModelServer, thread: GatewayThread):
    async with orchestrator(tmp_path, hub_url=thread.gateway.url) as running:
        run = await submit(running, rows(10, retry={"max_attempts": 1}))
        await until(lambda: len(vendor.requests) >= 3)
        thread.stop()
        await asyncio.sleep(2)
        before = len(vendor.requests)
        assert (await running.runs.get(run, OWNER)).state == "running"
        thread.start()
        view = await wait_for_state(running, run, ("done",), patience=60)
        assert view.tasks[0].items.done == 10
    assert before < 10
    assert len(set(sent(vendor))) == 10
    assert len(vendor.requests) <= 12  # two were in flight, and their answers were lost


async def test_a_token_that_is_renewed_in_mid_run_is_taken(
    tmp_path: Path, vendor: ModelServer, thread: GatewayThread, monkeypatch: pytest.MonkeyPatch
):
    gateway = thread.gateway
    async with orchestrator(tmp_path, hub_url=gateway.url) as running:
        run = await submit(running, rows(10, retry={"max_attempts": 1}))
        await until(lambda: len(vendor.requests) >= 3)
        gateway.tokens = {NEXT}  # that of the server ended with it
        await until(lambda: any(path == "api/models" for path, _ in gateway.requests[-3:]))
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", NEXT)
        view = await wait_for_state(running, run, ("done",), patience=60)
        assert view.tasks[0].items.done == 10
    assert sorted(sent(vendor)) == sorted(f"row {n}." for n in range(10))


async def test_what_is_not_the_teams_is_refused_before_the_start_and_permanent_in_mid_run(
    tmp_path: Path, thread: GatewayThread
):
    gateway = thread.gateway
    async with orchestrator(tmp_path, hub_url=gateway.url) as running:
        with pytest.raises(
            InvalidEnvironment, match="not among your team's models on the hub \\(openai:gpt-5-mini\\)"
        ):
            await submit(running, rows(1, "openai:gpt-4.1"))
        with pytest.raises(InvalidEnvironment, match="not among your team's models"):
            await submit(running, rows(1, "anthropic:claude-sonnet-4-5"))
        gateway.faults.extend([Fault(403, "model_not_allowed", "not on the list: openai:gpt-4o-mini")] * 2)
        run = await submit(running, rows(4))
        view = await wait_for_state(running, run, ("failed",))
        assert "openai:gpt-4o-mini" in str(view.error)
        assert len([path for path, _ in gateway.requests if path.startswith("openai/")]) <= 2


async def test_a_batch_that_the_gateway_does_not_take_is_refused_before_the_start(
    tmp_path: Path, thread: GatewayThread, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("po_jupyter.orchestrator.environment.preflight.GATEWAY_BATCHES", ("openai",))
    gateway, model = thread.gateway, "mistral:mistral-small-latest"
    gateway.models = [{"model": model, "input_per_million": 1, "output_per_million": 1}]
    async with orchestrator(tmp_path, hub_url=gateway.url) as running:
        with pytest.raises(InvalidEnvironment, match="takes batches of openai, and none of mistral"):
            await submit(running, in_batches(2, model))
    assert not [path for path, _ in gateway.requests if path.startswith("mistral")]


@pytest.mark.parametrize(
    "model", ["gemini:gemini-2.5-flash", "mistral:mistral-small-latest", "openai:gpt-5-mini"]
)
async def test_a_batch_goes_through_a_gateway_and_costs_what_its_ledger_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
):
    """To 1e-8 of a dollar, at the team's price and half of it."""
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "alice-token")
    with BatchServer(lambda body, id: "fine enough") as vendor:
        async with running_gateway(tmp_path, vendor.root_url) as gateway:
            monkeypatch.setenv("PO_HUB_URL", gateway.url)
            async with orchestrator(tmp_path / "data", hub_url=gateway.url) as running:
                run = await submit(running, in_batches(5, model))
                view = await wait_for_state(running, run, ("done",), patience=60)
                assert view.tasks[0].items.done == 5
            assert len(vendor.batches()) == 1 and {key for _, _, key in vendor.requests} == {KEY}
            assert await gateway.reserved() == 0
            assert view.usage.cost == pytest.approx(await gateway.spent() / 1e9, abs=1e-8) and view.usage.cost


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_key_of_ones_own_is_used_where_the_admin_allows_it(
    tmp_path: Path, vendor: ModelServer, thread: GatewayThread, monkeypatch: pytest.MonkeyPatch, allowed: bool
):
    thread.gateway.own_keys = allowed
    monkeypatch.setenv("OPENAI_API_KEY", "sk-my-own-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", vendor.base_url)
    async with orchestrator(tmp_path, hub_url=thread.gateway.url) as running:
        run = await submit(running, rows(1))
        await wait_for_state(running, run, ("done",))
        state = next(key for key in await running.environment.list_keys() if key["provider"] == "openai")
    key = "sk-my-own-0123456789" if allowed else thread.gateway.key
    assert vendor.requests[0].headers["authorization"] == f"Bearer {key}"
    assert state["source"] == ("environment" if allowed else "hub")


async def test_a_hub_that_is_away_at_the_start_keeps_no_run_from_being_submitted(
    tmp_path: Path, vendor: ModelServer, thread: GatewayThread
):
    thread.stop()
    async with orchestrator(tmp_path, hub_url=thread.gateway.url) as running:
        run = await submit(running, rows(1))
        assert "cannot be reached" in (await running.maintenance.usage(OWNER))["hub"]["problem"]
        thread.start()
        await wait_for_state(running, run, ("done",), patience=60)
    assert len(vendor.requests) == 1


async def test_the_token_is_in_nothing_that_is_kept(tmp_path: Path, thread: GatewayThread):
    thread.gateway.faults.append(Fault(400, "", f"your token {TOKEN} is wrong"))
    async with orchestrator(tmp_path, hub_url=thread.gateway.url) as running:
        run = await submit(running, rows(2))
        await wait_for_state(running, run, ("done", "failed"))
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert kept == []
