"""A run whose worker meets a full or read-only disk waits for it, visibly, and is nobody's crash (R1.2, R2.3, P12)."""

from __future__ import annotations

import asyncio
import subprocess

import pytest

from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.presentation import format as fmt
from po_jupyter.testing.model_server import ModelServer
from tests.crash.test_disk_full import SmallDisk, disk
from tests.support.orchestrator import body, orchestrator, task, wait_for_state, wait_for_task_state

__all__ = ["disk"]  # a fixture


async def waits(service: RunningOrchestrator, run: str, tries: int = 1) -> str:
    """What people are told of the run, once it was tried so often."""
    async with asyncio.timeout(20):
        while True:
            view = await service.runs.get(run, None)
            dispatcher = service.dispatcher.active
            held = dispatcher.supervisor.store_backoff.get(run) if dispatcher.is_holder else None
            if view.waiting is not None and held is not None and held.tries >= tries:
                return view.waiting
            await asyncio.sleep(0.05)


@pytest.mark.timeout(90)
async def test_a_worker_that_meets_a_full_disk_waits_and_goes_on(disk: SmallDisk) -> None:
    """Not counted as a crash, although one crash would be the end; told with its reason; the log says it later."""
    async with orchestrator(disk.path / "data", max_crashes=1, store_shards=1) as service:
        view, _ = await service.submissions.submit(
            body(task("one"), task("two", seconds=1.0), task("three")), owner="local"
        )
        await wait_for_task_state(service, view.id, "two")
        with disk.full():
            said = await waits(service, view.id, tries=2)
            now = await service.runs.get(view.id, None)
            assert "full" in said
            assert "2 tries" in said
            assert now.state == "running"
            assert "waits for the store" in fmt.headline(now, 0.0)[2]
            assert [p.text for p in fmt.problems(now)] == [now.waiting]
        view = await wait_for_state(service, view.id, patience=30)
        assert view.state == "done"
        assert view.waiting is None
        events = await service.runs.events(view.id, None)
        assert not [e for e in events if e["type"] == "worker.crashed"]
        (*_, held) = [e for e in events if e["type"] == "run.held"]
        assert held["data"]["tries"] >= 2
        assert "full" in held["data"]["reason"]
        assert sum(e["type"] == "task.done" and e["task"] == "one" for e in events) == 1


@pytest.mark.timeout(90)
async def test_whoever_watches_hears_that_a_run_waits(disk: SmallDisk) -> None:
    """P7: a wait is visible; the stream says it without an offset, for the log cannot."""
    from po_jupyter.server.sse import streams as stream

    async with orchestrator(disk.path / "data", store_shards=1) as service:
        view, _ = await service.submissions.submit(body(task("one", seconds=1.0)), owner="local")
        await wait_for_task_state(service, view.id, "one")
        heard: list[bytes] = []

        async def listen() -> None:
            async for part in stream.run_events(service, view, "local", 0):
                heard.append(part)

        listening = asyncio.create_task(listen())
        with disk.full():
            await waits(service, view.id)
        await wait_for_state(service, view.id, patience=30)
        await asyncio.wait_for(listening, 20)
        held = [part for part in heard if part.startswith(b"event: held")]
        assert b"full" in held[0]
        assert b'"reason":null' in held[-1]


WRITES = """
def inference(ctx):
    return ctx.llm.chat(f"row {ctx.item}").text
def integration(ctx):
    ctx.io.write_artifact(f"{ctx.item}.bin", b"x" * 400_000)
"""


@pytest.mark.timeout(90)
async def test_a_task_whose_files_do_not_fit_waits_and_goes_on_without_a_second_call(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3, P12: no attempt is spent, the pauses grow though the log can be written, and calls in flight are recorded."""
    with ModelServer(latency=0.2) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", model.key)
        async with orchestrator(disk.path / "data", max_crashes=1, store_shards=1) as service:
            asked = body(
                {"name": "rows", "source": WRITES, "for_each": str(list(range(20))), "max_concurrency": 6}
            )
            asked["pipeline"]["llm"] = {"model": "openai:test", "max_tokens": 50}
            view, _ = await service.submissions.submit(asked, owner="local")
            reason = await waits(service, view.id, tries=3)
            assert "the disk is full" in reason and "3 tries" in reason
            size = ["mount", "-o", "remount,size=40m", str(disk.path)]
            await asyncio.to_thread(subprocess.run, size, check=True)
            view = await wait_for_state(service, view.id, patience=40)
            assert (view.state, view.tasks[0].items.done) == ("done", 20)
            events = await service.runs.events(view.id, None)
            bad = {"worker.crashed", "item.failed", "task.retrying"}
            assert [e for e in events if e["type"] in bad] == []
            assert (view.usage.calls, view.usage.unknown) == (20, 0)
            assert len(model.requests) == 20 and model.duplicates() == {}
