"""A run's own costs behind a gateway are those of its ledger: with the admin's prices, for models that no list has too.

The gateway and the service of shared runs are programs of their own here, and runs have real workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from po_jupyter.errors import InvalidPipeline
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.testing.model_server import ModelServer
from tests.support.fake_gateway import FakeGateway, GatewayThread
from tests.support.orchestrator import orchestrator, wait_for_state
from tests.support.shared_runs import SharedRuns, shared_runs

pytestmark = pytest.mark.integration

KNOWN, UNLISTED = "openai:gpt-5-mini", "openai:house-model-7b"
TEAM = {
    "models": [KNOWN, UNLISTED],
    "prices": {KNOWN: {"input": 500, "output": 7000, "cached": 50}, UNLISTED: {"input": 300, "output": 900}},
}


@pytest.fixture(scope="module")
def vendor() -> Iterator[ModelServer]:
    with ModelServer("fine") as server:
        yield server


@pytest.fixture(scope="module")
def team(vendor: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedRuns]:
    with shared_runs(tmp_path_factory.mktemp("team"), vendor.root_url, team=TEAM) as found:
        yield found


@pytest.fixture(autouse=True)
def as_alice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "token-of-alice")


def rows(model: str, count: int = 3, **more: Any) -> dict[str, Any]:
    task = {"name": "label", "for_each": "{{ seed.rows }}", "prompt": "row {{ item }}.", **more.pop("task", {})}
    return {
        "pipeline": {"name": "p", "llm": {"model": model, "max_tokens": 50}, "tasks": [task], **more},
        "seed": {"name": "s", "data": {"rows": list(range(count))}},
    }


async def submit(running: RunningOrchestrator, body: dict[str, Any]) -> str:
    view, _ = await running.submissions.submit(body, owner="local", code_allowed=True)
    return view.id


def spent(team: SharedRuns, model: str) -> float:
    """US dollars of a model in the gateway's ledger."""
    answer = httpx.get(
        f"{team.gateway_url}/api/admin/usage?by=model",
        headers={"Authorization": "Bearer token-of-root"}, trust_env=False,
    )  # fmt: skip
    return sum(float(row["usd"]) for row in answer.json()["rows"] if row["name"] == model)


@pytest.mark.parametrize("model", [KNOWN, UNLISTED])
async def test_a_runs_cost_is_what_the_ledger_counts(
    tmp_path: Path, team: SharedRuns, monkeypatch: pytest.MonkeyPatch, model: str
):
    monkeypatch.setenv("PO_HUB_URL", team.gateway_url)
    before = spent(team, model)
    async with orchestrator(tmp_path, hub_url=team.gateway_url, daily_usd=1000.0) as running:
        run = await submit(running, rows(model, budget={"usd": 100}))
        view = await wait_for_state(running, run, ("done",))
        estimate = await running.submissions.estimate(rows(model), owner="local", code_allowed=True)
    assert view.usage.cost is not None
    assert view.usage.cost == pytest.approx(spent(team, model) - before, abs=1e-8)
    assert view.usage.cost > 0
    assert estimate["cost"]["worst"] >= view.usage.cost


async def test_the_teams_price_weighs_more_than_the_users_own_and_reaches_children_and_judges(
    tmp_path: Path, team: SharedRuns, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PO_HUB_URL", team.gateway_url)
    before = spent(team, UNLISTED)
    own = {UNLISTED: {"input": 1, "output": 1}}
    body = rows(UNLISTED, 6, task={"shards": 2, "score": {"judge": "Good? {{ output }}"}})
    async with orchestrator(tmp_path, hub_url=team.gateway_url, prices=own) as running:
        run = await submit(running, body)
        view = await wait_for_state(running, run, ("done", "failed"), patience=60)
        events = [event["type"] for record in running.store.records(run) for event in record["events"]]
        assert events.count("shard.merged") >= 2
    assert view.usage.cost == pytest.approx(spent(team, UNLISTED) - before, abs=1e-8)
    assert view.usage.cost > 0


@pytest.mark.parametrize(
    "task",
    [
        {"llm": [{"model": KNOWN}, {"model": UNLISTED, "when": "{{ item % 2 == 0 }}"}]},
        {"variants": {"now": {}, "house": {"llm": {"model": UNLISTED}}, "short": {"prompt": "{{ item }}"}}},
        {"votes": 3, "llm": [{"model": KNOWN}, {"model": UNLISTED, "when": "{{ true }}"}]},
    ],
    ids=["cascade", "variants", "votes in a cascade"],
)
async def test_a_run_of_several_models_costs_what_the_ledger_counts_of_each(
    tmp_path: Path, team: SharedRuns, monkeypatch: pytest.MonkeyPatch, task: dict[str, Any]
):
    """Batches of providers: `tests.hub.real.test_runs`."""
    monkeypatch.setenv("PO_HUB_URL", team.gateway_url)
    before = {model: spent(team, model) for model in (KNOWN, UNLISTED)}
    body = rows(KNOWN, 4, budget={"usd": 500}, task=task)
    async with orchestrator(tmp_path, hub_url=team.gateway_url) as running:
        run = await submit(running, body)
        view = await wait_for_state(running, run, ("done", "failed"), patience=60)
        estimate = await running.submissions.estimate(body, owner="local", code_allowed=True)
    assert view.state == "done", view.error
    of_model = {model: spent(team, model) - cost for model, cost in before.items()}
    assert all(of_model.values())
    assert view.usage.cost == pytest.approx(sum(of_model.values()), abs=1e-8)
    assert estimate["cost"]["worst"] >= view.usage.cost


async def test_a_budget_stops_a_run_by_the_admins_price(
    tmp_path: Path, team: SharedRuns, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PO_HUB_URL", team.gateway_url)
    before = spent(team, UNLISTED)
    body = rows(UNLISTED, 40, budget={"usd": 0.08}, task={"max_concurrency": 1})
    async with orchestrator(tmp_path, hub_url=team.gateway_url) as running:
        run = await submit(running, body)
        view = await wait_for_state(running, run, ("failed",))
        assert view.error["code"] == "budget_exceeded"
    cost = spent(team, UNLISTED) - before
    assert 0 < cost <= 0.08
    assert view.usage.cost == pytest.approx(cost, abs=1e-8)


def test_a_shared_run_pays_the_admins_price(team: SharedRuns):
    before = spent(team, UNLISTED)
    with team.client("alice") as alice:
        answer = alice.post("runs", json=rows(UNLISTED, budget={"usd": 100}))
        assert answer.status_code == 201, answer.text
        run = team.await_state("alice", answer.json()["run"]["id"], "done")
    assert run["usage"]["cost"] == pytest.approx(spent(team, UNLISTED) - before, abs=1e-8)


@pytest.fixture
def thread(vendor: ModelServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatewayThread]:
    gateway = FakeGateway(vendor.root_url)
    gateway.tokens = {"token-of-alice"}
    gateway.models = [
        {"model": UNLISTED, "input_per_million": 300, "output_per_million": 900,
         "price": {"input": 300, "output": 900}},
        {"model": KNOWN, "input_per_million": None, "output_per_million": None, "price": None},
    ]  # fmt: skip
    thread = GatewayThread(gateway)
    thread.start()
    monkeypatch.setenv("PO_HUB_URL", gateway.url)
    yield thread
    thread.stop()


@pytest.mark.parametrize(("model", "limits"), [(UNLISTED, {"budget": {"usd": 100}}), (KNOWN, {})])
async def test_a_gateway_that_is_away_at_the_submit_ends_no_run_which_pays_its_prices(
    tmp_path: Path, thread: GatewayThread, model: str, limits: dict[str, Any]
):
    """Where the gateway alone knows the price, and where the list would have another one."""
    thread.stop()
    thread.gateway.models = [{**thread.gateway.models[0], "model": model}]
    async with orchestrator(tmp_path, hub_url=thread.gateway.url) as running:
        run = await submit(running, rows(model, **limits))
        await wait_for_state(running, run, ("running",))
        thread.start()
        view = await wait_for_state(running, run, ("done",), patience=60)
    usage = view.usage
    assert usage.cost == pytest.approx((usage.input_tokens * 300 + usage.output_tokens * 900) / 1e6)


async def test_the_last_known_prices_of_the_team_survive_a_restart(tmp_path: Path, thread: GatewayThread):
    """The gateway is away at a submit after it: a budget and an estimate count with them, and not with the list."""
    thread.gateway.models[1] |= {"price": {"input": 500, "output": 7000}}
    async with orchestrator(tmp_path, hub_url=thread.gateway.url) as running:
        run = await submit(running, rows(UNLISTED, 2, budget={"usd": 100}))
        await wait_for_state(running, run, ("done",))
    thread.stop()
    async with orchestrator(tmp_path, hub_url=thread.gateway.url) as running:
        for model, output in ((UNLISTED, 900), (KNOWN, 7000)):
            estimate = await running.submissions.estimate(rows(model), owner="local", code_allowed=True)
            assert estimate["cost"]["worst"] >= 3 * 50 * output / 1e6
        run = await submit(running, rows(UNLISTED, budget={"usd": 0.01}))
        view = await wait_for_state(running, run, ("failed",), patience=30)
        assert view.error["code"] == "budget_exceeded"


async def test_what_the_gateway_has_no_price_for_is_unknown_and_a_key_of_ones_own_keeps_its_address(
    tmp_path: Path, vendor: ModelServer, thread: GatewayThread, monkeypatch: pytest.MonkeyPatch
):
    async with orchestrator(tmp_path, hub_url=thread.gateway.url) as running:
        with pytest.raises(InvalidPipeline, match=f"the price of {KNOWN} is unknown"):
            await submit(running, rows(KNOWN, budget={"usd": 1}))
    thread.gateway.own_keys = True
    monkeypatch.setenv("OPENAI_API_KEY", "sk-my-own-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", vendor.base_url)
    async with orchestrator(tmp_path, hub_url=thread.gateway.url) as running:
        run = await submit(running, rows(KNOWN))
        view = await wait_for_state(running, run, ("done",))
    assert (
        view.usage.cost is None and view.usage.output_tokens
    )  # at an address of ones own the list does not hold
    assert {request.headers["authorization"] for request in vendor.requests[-3:]} == {
        "Bearer sk-my-own-0123456789"
    }


async def test_a_resumed_run_takes_the_prices_of_now(tmp_path: Path, thread: GatewayThread):
    body = rows(UNLISTED, 8, budget={"usd": 0.05}, task={"max_concurrency": 1})
    async with orchestrator(tmp_path, hub_url=thread.gateway.url) as running:
        run = await submit(running, body)
        before = await wait_for_state(running, run, ("failed",))
        thread.gateway.models[0]["price"] = {"input": 0.3, "output": 0.9}
    async with orchestrator(tmp_path, hub_url=thread.gateway.url) as running:
        await running.control.resume(run, "local")
        view = await wait_for_state(running, run, ("done",))
    assert before.usage.cost is not None
    assert 0 < view.usage.cost - before.usage.cost < before.usage.cost / 100
