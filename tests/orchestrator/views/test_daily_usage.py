"""`GET usage` ("Tokens and money"): what calls used per user and day, right after restarts, forks and deletions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.budgets import daily_usage as daily
from po_jupyter.engine.replay.history import read_history
from po_jupyter.model.run.events import draft, now
from po_jupyter.orchestrator.control.child_runs import delete_child_runs
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from po_jupyter.store.protocol import Commit
from tests.support.orchestrator import body, orchestrator, wait_for_state
from tests.support.shards import Family

pytestmark = pytest.mark.integration

PROMPT = {"name": "p", "prompt": "hello", "llm": {"model": "fake:echo"}, "cache": False}


async def made(service: RunningOrchestrator, owner: str = "me") -> str:
    view, _ = await service.submissions.submit(body(PROMPT, {**PROMPT, "name": "q"}), owner=owner)
    assert (await wait_for_state(service, view.id)).state == "done"
    return view.id


async def calls(service: RunningOrchestrator, owner: str | None = "me") -> int:
    found = await service.maintenance.usage(owner, days=1)
    return int(found["total"]["calls"])


async def test_usage_by_day_and_model_and_owner(tmp_path: Path) -> None:
    """Mine are mine; who sees everybody's sees each owner's."""
    async with orchestrator(tmp_path) as service:
        await made(service)
        view = await service.runs.get(await made(service), "me")
        await made(service, "you")
        found = await service.maintenance.usage("me")
        (today,) = found["days"]
        assert today["day"] == now()[:10]
        assert (today["calls"], today["cost"], today["unpriced"]) == (4, 0, 0)
        assert today["input_tokens"] == 2 * view.usage.input_tokens > 0
        assert list(today["by_model"]) == ["fake:echo"]
        assert "owners" not in found
        everybody = await service.maintenance.usage(None)
        assert everybody["total"]["calls"] == 6
        assert {o: u["total"]["calls"] for o, u in everybody["owners"].items()} == {"me": 4, "you": 2}
        assert (await service.maintenance.usage("nobody"))["days"] == []


async def test_usage_by_pipeline_outlives_the_runs(tmp_path: Path) -> None:
    """B14: what a pipeline cost stays known when retention removes its runs."""
    async with orchestrator(tmp_path) as service:
        kept, gone = body(PROMPT), body(PROMPT, {**PROMPT, "name": "q"})
        gone["pipeline"]["name"] = "other"
        for submitted in (kept, gone):
            view, _ = await service.submissions.submit(submitted, owner="me")
            assert (await wait_for_state(service, view.id)).state == "done"
        expected = {kept["pipeline"]["name"]: 1, "other": 2}
        for _ in range(2):
            found = await service.maintenance.usage("me")
            assert {name: sums["calls"] for name, sums in found["by_pipeline"].items()} == expected
            everybody = await service.maintenance.usage(None)
            assert everybody["by_pipeline"] == found["by_pipeline"]
            await service.control.delete(view.id, "me")
            view, _ = await service.submissions.submit(body(PROMPT), owner="me")
            assert (await wait_for_state(service, view.id)).state == "done"
            expected[kept["pipeline"]["name"]] += 1


async def test_an_older_document_has_the_pipelines_of_the_runs_that_exist(tmp_path: Path) -> None:
    """What was deleted before is in the days alone, and nothing of it is lost."""
    async with orchestrator(tmp_path) as service:
        await made(service)
        await calls(service)
        name = daily.name_of("me")
        document: Any = service.store.get(daily.KIND, name)
        old = {"days": {now()[:10]: {"fake:echo": {"calls": 5}}}, "runs": document["runs"]}
        for entry in old["runs"].values():
            del entry["pipeline"]
        service.store.put(daily.KIND, name, old)
        found = await service.maintenance.usage("me")
        assert found["total"]["calls"] == 7
        assert sum(sums["calls"] for sums in found["by_pipeline"].values()) == 2


async def test_today_stands_beside_the_limits_of_a_day(tmp_path: Path) -> None:
    """G7: "$0.40 of $2 today"."""
    async with orchestrator(tmp_path, daily_usd=2.0) as service:
        nothing = (await service.maintenance.usage("me"))["today"]
        assert nothing == {"usd": {"used": 0.0, "limit": 2.0}, "tokens": {"used": 0, "limit": None}}
        await made(service)
        found = await service.maintenance.usage("me")
        (day,) = found["days"]
        assert found["today"]["tokens"]["used"] >= day["input_tokens"] + day["output_tokens"] > 0
        assert "today" not in await service.maintenance.usage(None)


async def test_answers_from_the_cache_are_counted_apart(tmp_path: Path) -> None:
    """G2: by the model that was not asked; they cost nothing."""
    async with orchestrator(tmp_path) as service:
        for _ in range(3):
            view, _ = await service.submissions.submit(body({**PROMPT, "cache": True}), owner="me")
            assert (await wait_for_state(service, view.id)).state == "done"
        (today,) = (await service.maintenance.usage("me"))["days"]
        assert (today["calls"], today["cached_calls"], today["cost"]) == (1, 2, 0)
        assert list(today["by_model"]) == ["fake:echo"]


async def test_a_day_is_never_changed_by_what_is_deleted(tmp_path: Path) -> None:
    """G7: retention, a person's deletion and a fork leave what was spent as it was; nothing is counted twice."""
    async with orchestrator(tmp_path) as service:
        first, second = await made(service), await made(service)
        forked = await service.control.fork(first, "me", "q")
        await wait_for_state(service, forked.id)
        assert await calls(service) == 5, "the fork took over one answer and asked for one"
        await service.control.delete(first, "me")
        assert await calls(service) == 5
        await service.control.restart(second, "me", clear_usage=True)
        assert (await wait_for_state(service, second)).usage.calls == 2
        await service.maintenance.clean("me", older_than=0)
        assert (await service.runs.page("me"))[0] == []
        assert [await calls(service) for _ in range(2)] == [7, 7]
        document: Any = service.store.get(daily.KIND, daily.name_of("me"))
        assert document["runs"] == {}, "what is gone takes no room of its own"
    async with orchestrator(tmp_path) as service:
        assert await calls(service) == 7


async def test_answers_from_the_cache_are_shown_and_are_no_calls(tmp_path: Path) -> None:
    """G2: the second run costs nothing, and says so under the model that was asked."""
    cached = {**PROMPT, "cache": True}
    async with orchestrator(tmp_path) as service:
        for _ in range(2):
            view, _ = await service.submissions.submit(body(cached), owner="me")
            await wait_for_state(service, view.id)
        (today,) = (await service.maintenance.usage("me"))["days"]
        assert (today["calls"], today["cached_calls"]) == (1, 1)
        assert list(today["by_model"]) == ["fake:echo"]


async def test_deleted_before_anybody_asked(tmp_path: Path) -> None:
    """Durable: a deletion reads the log first; killed between, the run is counted once."""
    async with orchestrator(tmp_path) as service:
        run = await made(service)
        head = service.store.head(run)
        DailyUsage(service.store).count([head])  # and here the process would have died
        DailyUsage(service.store).count([head])
        service.store.delete_run(run)
        assert await calls(service) == 2
        await made(service)
        assert await calls(service) == 4


async def test_what_a_child_run_used_is_kept_when_it_is_deleted_with_the_whole(tmp_path: Path) -> None:
    """The whole died before it had it in its own log."""
    family = Family(tmp_path)
    family.create([{"name": "m", "prompt": "row {{ item }}", "for_each": "range(6)", "shards": 2}])
    family.alone, family.drains_at = True, 2
    assert await family.go() == "released"
    one, other = family.children()
    assert await family.work_off(one) == await family.work_off(other) == "done"
    lease = family.store.claim(family.run, {"pid": 2})
    family.store.commit(lease, Commit(events=[draft("run.dead", error={})], state="dead", release=True))
    used = [read_history(family.store, run).state.usage.calls for run in (one, other)]
    usage = DailyUsage(family.store)
    state = read_history(family.store, family.run).state
    delete_child_runs(family.store, tmp_path, None, state, usage)
    usage.count([family.store.head(family.run)])
    family.store.delete_run(family.run)
    for _ in range(2):
        assert usage.report("me", 2)["total"]["calls"] == sum(used) == 6


async def test_what_the_whole_has_of_a_child_run_counts_once(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.create([{"name": "m", "prompt": "row {{ item }}", "for_each": "range(6)", "shards": 2}])
    assert await family.go() == "done"
    usage = DailyUsage(family.store)
    state = read_history(family.store, family.run).state
    delete_child_runs(family.store, tmp_path, None, state, usage)
    usage.count([family.store.head(family.run)])
    family.store.delete_run(family.run)
    assert usage.report("me", 2)["total"]["calls"] == 6
