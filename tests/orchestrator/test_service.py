"""What people ask of the orchestrator, with real workers."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from po_jupyter.errors import Conflict, Forbidden, InvalidInput, InvalidPipeline, InvalidSeed, NotFound
from po_jupyter.orchestrator.service import Orchestrator
from po_jupyter.orchestrator.submission import request as submission
from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.orchestrator import (
    appears,
    body,
    gone,
    lives,
    orchestrator,
    processes_of,
    settings,
    task,
    until,
    until_task,
)

pytestmark = pytest.mark.integration


async def test_a_run_of_five_tasks_is_done_in_a_process_of_its_own(tmp_path: Path) -> None:
    """C4: submitted is durable, done is done, and the outputs are there."""
    async with orchestrator(tmp_path) as service:
        view, created = await service.submissions.submit(
            body(*(task(f"t{i}") for i in range(5))), owner="local"
        )
        assert created
        assert view.state == "pending"
        assert len(view.id) == 22
        view = await until(service, view.id)
        assert view.state == "done"
        assert [t.state for t in view.tasks] == ["done"] * 5
        outputs = await service.results.outputs(view.id, "local")
        assert list(outputs) == [f"t{i}" for i in range(5)]
        offsets = [e["offset"] for e in await service.runs.events(view.id, "local")]
        assert offsets == list(range(1, view.last_event + 1)), "P8: no gaps"


async def test_a_stopped_orchestrator_leaves_no_process_and_the_next_one_goes_on(tmp_path: Path) -> None:
    """Done-when of recovery: a graceful stop drains, nothing is lost."""
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(
            body(task("one"), task("two", seconds=1.0), task("three")), owner="local"
        )
        await until_task(service, view.id, "two")
        assert processes_of(tmp_path)
    await gone(processes_of(tmp_path))
    async with orchestrator(tmp_path) as service:
        view = await until(service, view.id)
        assert view.state == "done"
        events = await service.runs.events(view.id, None)
        assert sum(e["type"] == "task.done" and e["task"] == "one" for e in events) == 1
        assert not any(e["type"] == "worker.crashed" for e in events), "a stop is nobody's crash"


async def test_what_is_asked_of_the_disk_is_asked_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: whether `cwd` is there may take as long as a network file system likes."""
    asked: list[int] = []

    def look(path: str) -> bool:
        asked.append(threading.get_ident())
        return True

    async with orchestrator(tmp_path) as service:
        monkeypatch.setattr(submission.os.path, "isdir", look)
        await service.submissions.estimate({**body(task("one")), "cwd": str(tmp_path)}, owner="local")
    assert asked
    assert threading.get_ident() not in asked


async def test_cancel_keeps_what_is_finished(tmp_path: Path) -> None:
    """P12."""
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body(task("one"), task("two", seconds=60)), owner="local")
        await until_task(service, view.id, "two")
        await service.control.cancel(view.id, "local")
        view = await until(service, view.id)
        assert view.state == "cancelled"
        assert view.tasks[0].state == "done"
        assert (await service.control.cancel(view.id, "local")).state == "cancelled", "twice is once"
        assert list(await service.results.outputs(view.id, None)) == ["one"]


async def test_cancel_ends_user_code_that_blocks_and_its_children(tmp_path: Path) -> None:
    """A cancelled worker that does not react is ended with its whole group; the run is `cancelled`."""
    async with orchestrator(tmp_path, cancel_timeout=0.5) as service:
        note = tmp_path / "child.pid"
        view, _ = await service.submissions.submit(
            body(task("one"), task("two", block=60, child=str(note))), owner="local"
        )
        await appears(note)
        await service.control.cancel(view.id, "local")
        view = await until(service, view.id, patience=8)
        assert view.state == "cancelled"
        assert view.tasks[0].state == "done"
        assert view.tasks[1].state == "cancelled"
        await gone([int(note.read_text())])


async def test_a_cancelled_run_in_the_queue_never_starts(tmp_path: Path) -> None:
    """B14: one slot; the queue has positions, and a cancel takes a run out of it."""
    async with orchestrator(tmp_path, max_running=1) as service:
        first, _ = await service.submissions.submit(body(task("one", seconds=30)), owner="local")
        await until_task(service, first.id, "one")
        second, _ = await service.submissions.submit(body(task("one")), owner="local")
        third, _ = await service.submissions.submit(body(task("one"), priority=5), owner="local")
        assert (await service.runs.get(third.id, None)).position == 1, "the higher priority is next"
        assert (await service.runs.get(second.id, None)).position == 2
        assert service.live_runs() == 3
        assert (await service.control.cancel(second.id, None)).state == "cancelled"
        await service.control.cancel(first.id, None)
        assert (await until(service, third.id)).state == "done"
        events = await service.runs.events(second.id, None)
        assert not any(e["type"] == "run.started" for e in events)


async def test_a_failed_run_resumes_where_it_failed(tmp_path: Path) -> None:
    """P12: resume does only what is not done."""
    async with orchestrator(tmp_path) as service:
        fixed = tmp_path / "fixed"
        view, _ = await service.submissions.submit(
            body(task("one"), task("two", fail=str(fixed)), task("three")), owner="local"
        )
        view = await until(service, view.id)
        assert view.state == "failed"
        assert [t.state for t in view.tasks] == ["done", "failed", "pending"]
        fixed.touch()
        assert (await service.control.resume(view.id, "local")).state in ("pending", "running", "done")
        view = await until(service, view.id)
        assert view.state == "done"
        starts = [e["task"] for e in await service.runs.events(view.id, None) if e["type"] == "task.started"]
        assert starts == ["one", "two", "two", "three"]
        with pytest.raises(Conflict, match="nothing to resume"):
            await service.control.resume(view.id, "local")


async def test_resume_from_a_task_does_it_and_everything_after_it_again(tmp_path: Path) -> None:
    """B13."""
    async with orchestrator(tmp_path) as service:
        fixed = tmp_path / "fixed"
        view, _ = await service.submissions.submit(
            body(task("one"), task("two"), task("three", fail=str(fixed))), owner="local"
        )
        await until(service, view.id)
        fixed.touch()
        await service.control.resume(view.id, "local", from_task="two")
        assert (await until(service, view.id)).state == "done"
        starts = [e["task"] for e in await service.runs.events(view.id, None) if e["type"] == "task.started"]
        assert starts == ["one", "two", "three", "two", "three"]


async def test_a_gate_waits_and_a_decision_is_final(tmp_path: Path) -> None:
    """B12: approve goes on; a later decision is a conflict; reject ends the run, which can be resumed."""
    gated = {**task("one"), "gate": "look"}
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body(gated, task("two")), owner="local")
        view = await until(service, view.id, ["waiting"])
        assert view.gate is not None
        assert view.gate["task"] == "one"
        await service.control.gate(view.id, "local", "approve", "fine")
        assert (await until(service, view.id)).state == "done"
        with pytest.raises(Conflict):
            await service.control.gate(view.id, "local", "reject")

        view, _ = await service.submissions.submit(body(gated, task("two")), owner="local")
        await until(service, view.id, ["waiting"])
        view = await service.control.gate(view.id, "local", "reject", "no")
        assert view.state == "cancelled"
        assert view.error is not None
        assert view.error["code"] == "gate_rejected"
        await service.control.resume(view.id, "local")
        await until(service, view.id, ["waiting"])
        await service.control.gate(view.id, "local", "approve")
        assert (await until(service, view.id)).state == "done"
        starts = [e["task"] for e in await service.runs.events(view.id, None) if e["type"] == "task.started"]
        assert starts == ["one", "two"], "the task before the gate was paid for once"


async def test_a_repeat_is_answered_although_it_could_not_be_submitted_any_more(tmp_path: Path) -> None:
    """R3.3: whoever lost the answer asks again, and gets the run, whatever became of what it was made from."""
    place = tmp_path / "work"
    place.mkdir()
    (place / "gone_soon.py").write_text("def integration(ctx):\n    return 1\n")
    by_module = body({"name": "gone_soon"}, cwd=str(place), idempotency_key="module")
    by_name = {"pipeline": "kept", "seed": {"name": "s", "data": {}}, "idempotency_key": "name"}
    async with orchestrator(tmp_path) as service:
        await service.pipelines.put("kept", body(task("one"), name="kept")["pipeline"], owner="a")
        made = [(await service.submissions.submit(asked, owner="a"))[0].id for asked in (by_module, by_name)]
        for run in made:
            await until(service, run)
        (place / "gone_soon.py").unlink()
        await service.pipelines.delete("kept", owner="a")
        for asked, run in zip((by_module, by_name), made, strict=True):
            view, created = await service.submissions.submit(asked, owner="a")
            assert (view.id, created) == (run, False)
        shutil.rmtree(place)
        view, created = await service.submissions.submit(by_module, owner="a")
        assert (view.id, created) == (made[0], False)
        with pytest.raises(InvalidInput, match="cannot be started"):  # another body is looked at as ever
            await service.submissions.submit({**by_module, "priority": 3}, owner="a")
        with pytest.raises(NotFound):
            await service.submissions.submit(by_name, owner="b")
        await service.pipelines.put("kept", body(task("two"), name="kept")["pipeline"], owner="a")
        with pytest.raises(Conflict):
            await service.submissions.submit({**by_name, "priority": 3}, owner="a")
        view, created = await service.submissions.submit(by_name, owner="a")
        assert (view.id, created) == (made[1], False), "the same words mean the same run"
        await service.control.delete(made[1], "a")
        view, created = await service.submissions.submit(by_name, owner="a")
        assert created
        await until(service, view.id)


async def test_an_idempotency_key_makes_one_run(tmp_path: Path) -> None:
    """DESIGN, Identity: the same key is the same run, with another body a conflict, and keys are per owner."""
    async with orchestrator(tmp_path) as service:
        first, created = await service.submissions.submit(body(task("one"), idempotency_key="k"), owner="a")
        again, created_again = await service.submissions.submit(
            body(task("one"), idempotency_key="k"), owner="a"
        )
        assert created
        assert not created_again
        assert first.id == again.id
        with pytest.raises(Conflict):
            await service.submissions.submit(body(task("other"), idempotency_key="k"), owner="a")
        other, created = await service.submissions.submit(body(task("one"), idempotency_key="k"), owner="b")
        assert created
        assert other.id != first.id
        for run in (first.id, other.id):
            await until(service, run)


async def test_runs_of_others_do_not_exist(tmp_path: Path) -> None:
    """P5: an owner sees only what is theirs; the admin (None) sees all; a suffix of an id will do."""
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body(task("one")), owner="a")
        for ask in (
            service.runs.get,
            service.control.cancel,
            service.control.resume,
            service.control.delete,
            service.results.outputs,
        ):
            with pytest.raises(NotFound):
                await ask(view.id, "b")
        assert (await service.runs.page("b"))[0] == []
        await until(service, view.id)
        assert (await service.runs.get(view.id[-6:], "a")).id == view.id
        assert [v.id for v in (await service.runs.page(None))[0]] == [view.id]
        await service.control.delete(view.id, "a")
        with pytest.raises(NotFound):
            await service.runs.get(view.id, "a")
        assert not (tmp_path / "runs" / view.id).exists()


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"seed": {"data": {}}}, InvalidSeed, "name"),
        ({"pipeline": {"name": "x", "tasks": []}}, InvalidPipeline, "tasks"),
        ({"pipeline": "nosuch"}, NotFound, "nosuch"),
        ({"pipelin": 1}, InvalidInput, "did you mean `pipeline`"),
        ({"interpreter": "python"}, InvalidInput, "absolute path"),
        ({"interpreter": "/nowhere/python"}, InvalidInput, "absolute path"),
        ({"cwd": "/nowhere"}, InvalidInput, "no directory"),
        ({"priority": 1000}, InvalidInput, "priority"),
        ({"options": {"limit": 0}}, InvalidInput, "limit"),
        ({"budget": {"usd": -1}}, InvalidInput, "usd"),
    ],
)
async def test_a_wrong_submission_changes_nothing(tmp_path: Path, wrong: dict, error: type, words: str) -> None:
    """P11."""
    async with orchestrator(tmp_path) as service:
        with pytest.raises(error, match=words):
            await service.submissions.submit({**body(task("one")), **wrong}, owner="local")
        assert (await service.runs.page(None))[0] == []
        assert service.live_runs() == 0


async def test_code_is_refused_where_it_is_not_allowed(tmp_path: Path) -> None:
    """DESIGN, Doors: the scope code:run."""
    async with orchestrator(tmp_path) as service:
        with pytest.raises(Forbidden, match="source"):
            await service.submissions.submit(body(task("one")), owner="x", code_allowed=False)


async def test_registered_pipelines_are_run_by_name(tmp_path: Path) -> None:
    """B10: a registry per owner; a run keeps its own snapshot."""
    async with orchestrator(tmp_path) as service:
        definition = body(task("one"))["pipeline"]
        stored, new = await service.pipelines.put("test", definition, owner="a")
        assert new
        assert stored["revision"]
        assert (await service.pipelines.put("test", definition, owner="a"))[1] is False
        assert [p["tasks"] for p in await service.pipelines.summaries(owner="a")] == [["one"]]
        assert await service.pipelines.summaries(owner="b") == []
        view, _ = await service.submissions.submit(
            {"pipeline": "test", "seed": {"name": "s", "data": {}}}, owner="a"
        )
        await service.pipelines.delete("test", owner="a")
        assert (await until(service, view.id)).state == "done"
        with pytest.raises(NotFound):
            await service.pipelines.get("test", owner="a")
        with pytest.raises(InvalidPipeline, match="called 'other'"):
            await service.pipelines.put("other", definition, owner="a")


async def test_large_seeds_stay_out_of_lists(tmp_path: Path) -> None:
    """A list or a stream carries every run many times; a seed of megabytes is read from the run itself."""
    async with orchestrator(tmp_path) as service:
        asked = body(task("one"))
        asked["seed"]["data"] = {"text": "x" * 100_000}
        view, _ = await service.submissions.submit(asked, owner="a")
        assert view.seed["data"]["text"]
        listed = (await service.runs.page("a"))[0][0]
        assert "data" not in listed.seed
        assert listed.seed["data_bytes"] > 100_000
        await until(service, view.id)


async def test_stop_before_start_and_twice_is_harmless(tmp_path: Path) -> None:
    service = Orchestrator(settings(tmp_path))
    await service.stop()
    running = await service.start()
    assert running.ready()["ready"]
    assert running.meta()["orchestrator"]["holder"]
    await service.stop()
    await service.stop()
    assert not running.ready()["ready"]
    assert not any(lives(p) for p in processes_of(tmp_path))


async def test_text_is_seen_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G11: who subscribes right after the submit sees the first answer grow; the pieces make up the whole."""
    answer = " ".join(f"word{i}" for i in range(40))
    with ModelServer(Reply(text=answer, gap=0.01)) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", model.key)
        async with orchestrator(tmp_path) as service:
            asked = {
                "pipeline": {"name": "talk", "tasks": [{"name": "say", "prompt": "x", "llm": "openai:test"}]},
                "seed": {"name": "s", "data": {}},
            }
            view, _ = await service.submissions.submit(asked, owner="local")
            texts = []
            async with service.changes.subscribe(view.id) as notes:
                while (await service.runs.get(view.id, None)).state in ("pending", "running"):
                    note = await notes.get(0.2)
                    if note is not None and note.kind == "text":
                        assert (note.run, note.data["task"]) == (view.id, "say")
                        texts.append(note.data["text"])
                while (note := await notes.get(0.1)) is not None:
                    if note.kind == "text":
                        texts.append(note.data["text"])
            assert (await service.results.outputs(view.id, None))["say"] == answer
            assert "".join(texts) == answer


async def test_rows_come_in_pages_while_the_map_goes_on_and_after_a_restart(tmp_path: Path) -> None:
    """P8, G17: each page is one look at the log's places; a second run says what it took over."""
    rows = {"name": "m", "prompt": "{{ item }}", "for_each": "range(25)", "max_concurrency": 4}
    wanted = {
        "pipeline": {"name": "pages", "llm": {"model": "fake:echo"}, "tasks": [rows]},
        "seed": {"name": "s", "data": {}},
    }
    async with orchestrator(tmp_path) as service:
        first, _ = await service.submissions.submit(wanted, owner="local")
        assert (await until(service, first.id)).state == "done"
        seen: list[int] = []
        cursor: str | None = None
        while True:
            page, cursor = await service.results.items(first.id, None, "m", cursor=cursor, limit=10)
            seen += [r["index"] for r in page]
            assert all(r["ok"] and r["output"] == f"echo: {r['index']}" and not r["reused"] for r in page)
            assert all(r["usage"]["calls"] == 1 for r in page)
            if cursor is None:
                break
        assert seen == list(range(25))
        again, _ = await service.submissions.submit(wanted, owner="local")
        view = await until(service, again.id)
        items = view.tasks[0].items
        assert items is not None
        assert (items.done, items.reused, view.usage.calls) == (25, 25, 0)
        assert view.tasks[0].stage == "inference"
        page, _ = await service.results.items(again.id, None, "m")
        assert [(r["output"], r["reused"]) for r in page] == [(f"echo: {i}", True) for i in range(25)]
        assert (await service.results.items(again.id, None, "m", state="failed")) == ([], None)
        outputs = await service.results.outputs(again.id, None)
        assert outputs["m"][3] == {"index": 3, "ok": True, "output": "echo: 3", "error": None}
        fresh, _ = await service.submissions.submit({**wanted, "options": {"fresh": True}}, owner="local")
        assert (await until(service, fresh.id)).usage.calls == 25
