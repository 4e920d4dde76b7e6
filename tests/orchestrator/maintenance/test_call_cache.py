"""G2 with real worker processes and a server that counts: the second run sends nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from po_jupyter.config import Price
from po_jupyter.errors import InvalidInput
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.view import RunView
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.orchestrator import orchestrator, wait_for_state

pytestmark = pytest.mark.integration

LABEL = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "praise"]}}}
ONE = {"name": "say", "prompt": "Say {{ seed.word }}"}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        yield server


def asked(*tasks: dict[str, Any], data: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    return {
        "pipeline": {"name": "p", "llm": {"model": "openai:gpt-4o-mini"}, "tasks": list(tasks)},
        "seed": {"name": "s", "data": data or {"word": "hi"}},
        "options": options,
    }


async def run(
    service: RunningOrchestrator, body: dict[str, Any], *, owner: str = "me", ends: str = "done"
) -> RunView:
    view, _ = await service.submissions.submit(body, owner=owner)
    view = await wait_for_state(service, view.id)
    assert view.state == ends, view.error
    return view


class Ticket(BaseModel):
    due: dt.date
    text: str

    @field_validator("text")
    @classmethod
    def _is_short(cls, text: str) -> str:
        assert len(text) < 4, "too long"
        return text


@pytest.mark.parametrize("mode", ["one", "rows"])
async def test_only_what_passed_the_validators_of_a_class_is_kept(
    tmp_path: Path, model: ModelServer, mode: str
) -> None:
    """A3: a wrong answer was done, and answered later runs."""
    task = Task(name="t", prompt="Read {{ seed.word }}", output=Ticket, retry={"max_attempts": 1})
    ticket = {
        **task.model_dump(mode="json", exclude_defaults=True),
        **({"for_each": "[1]"} if mode == "rows" else {}),
    }
    late, long = '{"due": "next Friday", "text": "a"}', '{"due": "2026-05-31", "text": "abcd"}'
    right = '{"due": "2026-05-31", "text": "abc"}'
    model.enqueue(late, long, long, late, right)
    body = {**asked(ticket), "interpreter": sys.executable, "cwd": os.getcwd()}
    async with orchestrator(tmp_path) as service:
        failed = await run(service, body, ends="failed")
        assert len(model.requests) == 3
        done = await run(service, body)
        assert len(model.requests) == 5
        outputs = await service.results.outputs(done.id, None)
        said = outputs["t"] if mode == "one" else outputs["t"][0]["output"]
        assert said == {"due": "2026-05-31", "text": "abc"}
        assert failed.id != done.id
        again = await run(service, body)
        assert len(model.requests) == 5
        assert await service.results.outputs(again.id, None) == outputs


async def test_the_second_run_asks_nobody(tmp_path: Path, model: ModelServer) -> None:
    """G2: prompts, structure that had to be asked for again, critique, and rows; visible and free."""
    label = {"name": "label", "prompt": "Label {{ seed.word }}", "output": LABEL}
    rows = {"name": "rows", "prompt": "Row {{ item }}", "for_each": "range(5)"}
    model.enqueue("I think it is", '{"label": "praise"}')
    async with orchestrator(tmp_path, prices={"openai:gpt-4o-mini": Price(input=0.15, output=0.6)}) as service:
        first = await run(service, asked(label, ONE, rows))
        assert len(model.requests) == first.usage.calls == 8
        assert first.usage.cost
        # Another definition, so that no outcome of a row is taken over: its answers are found all the same.
        second = await run(service, asked(label, ONE, {**rows, "config": {"x": 1}}))
        assert len(model.requests) == 8
        assert (second.usage.calls, second.usage.cached_calls, second.usage.cost) == (0, 8, 0.0)
        assert await service.results.outputs(second.id, None) == await service.results.outputs(first.id, None)
        kept = {t.name: (t.usage.calls, t.usage.cached_calls) for t in second.tasks}
        assert kept == {"label": (0, 2), "say": (0, 1), "rows": (0, 5)}
        calls, _ = await service.results.calls(second.id, None)
        assert [(c["kind"], c["state"], c["cached"]) for c in calls] == [("response", "done", True)] * 8
        fresh = await run(service, asked(ONE, fresh=True))
        assert (len(model.requests), fresh.usage.cached_calls) == (9, 0)
        off = await run(service, asked(ONE, cache=False))
        assert (len(model.requests), off.usage.cached_calls) == (10, 0)


async def test_another_question_or_another_server_is_asked(
    tmp_path: Path, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G2: temperature, schema, model, owner, base URL: everything that changes the answer."""
    async with orchestrator(tmp_path) as service:
        await run(service, asked(ONE))
        for i, change in enumerate(
            ({"llm": {"temperature": 1.0}}, {"output": {"type": "string"}}, {"llm": {"model": "openai:gpt-4o"}})
        ):
            assert (await run(service, asked({**ONE, **change}))).usage.cached_calls == 0
            assert len(model.requests) == 2 + i
        assert (await run(service, asked(ONE), owner="other")).usage.cached_calls == 0
        assert (await run(service, asked(ONE), owner="other")).usage.cached_calls == 1
        with ModelServer() as elsewhere:
            monkeypatch.setenv("OPENAI_BASE_URL", elsewhere.base_url)
            assert (await run(service, asked(ONE))).usage.cached_calls == 0
            assert len(elsewhere.requests) == 1
        assert len(model.requests) == 5


async def test_what_failed_is_asked_again(tmp_path: Path, model: ModelServer) -> None:
    """G2, P3: errors are not kept, nor answers of an attempt that failed in the end."""
    never = {**ONE, "output": LABEL, "refine": {"max_attempts": 1}}
    model.enqueue("no", "no")
    async with orchestrator(tmp_path) as service:
        await run(service, asked(never), ends="failed")
        assert (await run(service, asked(never))).usage.cached_calls == 0
        assert len(model.requests) == 3
        model.enqueue(Reply(status=400))
        await run(service, asked({**ONE, "prompt": "x"}), ends="failed")
        assert (await run(service, asked({**ONE, "prompt": "x"}))).usage.cached_calls == 0
        assert len(model.requests) == 5


async def test_many_runs_at_once_use_and_fill_one_cache(tmp_path: Path, model: ModelServer) -> None:
    """G2: six workers; none fails, and afterwards nothing is asked any more."""
    bodies = [
        asked({"name": "m", "prompt": f"{i % 3} {{{{ item }}}}", "for_each": "range(20)", "config": {"i": i}})
        for i in range(6)
    ]
    async with orchestrator(tmp_path) as service:
        await asyncio.gather(*(run(service, body) for body in bodies))
        before = len(model.requests)
        again = await asyncio.gather(*(run(service, {**b, "options": {"limit": 10}}) for b in bodies))
        assert len(model.requests) == before
        assert {t.items.reused for view in again for t in view.tasks if t.items} == {10}


async def test_room_and_clearing(tmp_path: Path, model: ModelServer) -> None:
    """G2, G7: shown, counted first, forgotten by whom it belongs to; runs stay."""
    async with orchestrator(tmp_path) as service:
        first = await run(service, asked(ONE))
        await run(service, asked(ONE), owner="other")
        assert (await service.maintenance.usage("me"))["disk"]["cache"] > 0
        dry = await service.maintenance.clean("me", cache=True, dry_run=True)
        assert (dry["runs"], dry["cache"]["answers"]) == ([], 1)
        assert dry["cache"]["bytes"] > 0
        assert (await service.maintenance.clean("me", cache=True))["cache"]["answers"] == 1
        assert (await service.runs.get(first.id, "me")).state == "done"
        assert (await run(service, asked(ONE), owner="other")).usage.cached_calls == 1
        assert (await run(service, asked(ONE))).usage.cached_calls == 0
        assert (await service.maintenance.clean(None, cache=True))["cache"]["answers"] == 2
        with pytest.raises(InvalidInput, match="about runs"):
            await service.maintenance.clean("me", cache=True, older_than=1)
        with pytest.raises(InvalidInput, match="cache"):
            await service.submissions.submit(asked(ONE, cache="refrsh"), owner="me")
        with pytest.raises(InvalidInput, match="cache"):
            await service.submissions.submit(asked(ONE, cache=True), owner="me")


async def test_the_orchestrator_makes_it_once_and_mends_it(tmp_path: Path, model: ModelServer) -> None:
    """G2: 0700, made before a worker needs it; a damaged one is made anew at the next start; none where it is
    switched off."""
    file = tmp_path / "cache" / "cache.db"
    async with orchestrator(tmp_path) as service:
        async with asyncio.timeout(20):
            while not file.exists():
                await asyncio.sleep(0.02)
        assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
        await run(service, asked(ONE))
    file.write_bytes(b"this is no database" * 1000)
    async with orchestrator(tmp_path) as service:
        await run(service, asked(ONE))  # broken or mended already: the run does not care
        async with asyncio.timeout(20):
            while file.read_bytes()[:6] != b"SQLite":
                await asyncio.sleep(0.02)
        assert (await run(service, asked(ONE, fresh=True))).usage.cached_calls == 0
        assert (await run(service, asked(ONE))).usage.cached_calls == 1
    off = tmp_path / "off"
    async with orchestrator(off, cache_max_bytes=0) as service:
        await run(service, asked(ONE))
        assert (await run(service, asked(ONE))).usage.cached_calls == 0
        assert not (off / "cache").exists()


async def test_no_prompt_and_no_key_is_in_the_cache(tmp_path: Path, model: ModelServer) -> None:
    """P10: the cache holds answers under hashes."""
    async with orchestrator(tmp_path) as service:
        await run(service, asked({**ONE, "prompt": "a secret question"}, data={"x": 1}), owner="zoe")
    db = sqlite3.connect(tmp_path / "cache" / "cache.db")
    rows = db.execute("SELECT key, value FROM Cache").fetchall()
    db.close()
    assert len(rows) == 1
    assert "zoe" not in rows[0][0]
    assert model.key.encode() not in rows[0][1]
    assert model.base_url.encode() not in rows[0][1]
