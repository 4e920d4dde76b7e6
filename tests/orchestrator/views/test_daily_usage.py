"""`GET usage` ("Tokens and money"): what calls used per user and day, right after restarts, forks and deletions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.budgets import daily_usage as daily
from po_jupyter.model.run.events import now
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from tests.support.orchestrator import body, orchestrator, until

pytestmark = pytest.mark.integration

PROMPT = {"name": "p", "prompt": "hello", "llm": {"model": "fake:echo"}, "cache": False}


async def made(service: RunningOrchestrator, owner: str = "me") -> str:
    view, _ = await service.submissions.submit(body(PROMPT, {**PROMPT, "name": "q"}), owner=owner)
    assert (await until(service, view.id)).state == "done"
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


async def test_answers_from_the_cache_are_counted_apart(tmp_path: Path) -> None:
    """G2: by the model that was not asked; they cost nothing."""
    async with orchestrator(tmp_path) as service:
        for _ in range(3):
            view, _ = await service.submissions.submit(body({**PROMPT, "cache": True}), owner="me")
            assert (await until(service, view.id)).state == "done"
        (today,) = (await service.maintenance.usage("me"))["days"]
        assert (today["calls"], today["cached_calls"], today["cost"]) == (1, 2, 0)
        assert list(today["by_model"]) == ["fake:echo"]


async def test_a_day_is_never_changed_by_what_is_deleted(tmp_path: Path) -> None:
    """G7: retention, a person's deletion and a fork leave what was spent as it was; nothing is counted twice."""
    async with orchestrator(tmp_path) as service:
        first, second = await made(service), await made(service)
        forked = await service.control.fork(first, "me", "q")
        await until(service, forked.id)
        assert await calls(service) == 5, "the fork took over one answer and asked for one"
        await service.control.delete(first, "me")
        assert await calls(service) == 5
        await service.control.restart(second, "me", clear_usage=True)
        assert (await until(service, second)).usage.calls == 2
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
            await until(service, view.id)
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
