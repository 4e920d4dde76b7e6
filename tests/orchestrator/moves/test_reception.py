"""A run that comes in is data of somebody's: only the service takes it, and what it says of itself is not believed."""

from __future__ import annotations

import hashlib
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Forbidden, InvalidInput, NotFound, PoError
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.moves.archive import FORMAT
from tests.support.orchestrator import orchestrator

pytestmark = pytest.mark.integration
RUN = "0" * 22
AT = "2026-11-27T12:00:00.000Z"
PIPELINE = {"name": "p", "tasks": [{"name": "t", "prompt": "hello", "llm": {"model": "fake:echo"}}]}
HEAD = {
    "run": RUN, "owner": "eve", "pipeline": "p", "version": "1", "name": "n", "state": "done", "created_at": AT,
    "updated_at": AT, "priority": 0, "fence": 1, "n": 1, "offset": 1, "holder": {"pid": 1},
}  # fmt: skip


def archive(head: Any = None, definition: Any = None, *parts: tuple[dict[str, Any], bytes]) -> bytes:
    return history([draft("run.done")], head, definition, *parts)


def history(
    events: list[Any],
    head: Any = None,
    definition: Any = None,
    *parts: tuple[dict[str, Any], bytes],
    at: str = AT,
) -> bytes:
    """The file of a run with those events in one record."""
    events = [{**event, "at": at} for event in events]
    head = {"offset": len(events), **(head or {})}
    record = json.dumps({"at": at, "fence": 0, "first": 1, "events": events}).encode()
    body = {"pipeline": PIPELINE, "seed": {"name": "n", "data": {}}, "code_allowed": True, **(definition or {})}
    first = {"part": "run", "format": FORMAT, "head": {**HEAD, **(head or {})}, "definition": body}
    rows: list[tuple[dict[str, Any], bytes]] = [({"part": "row", "kind": "c", "n": 1}, record), *parts]
    text = json.dumps(first).encode() + b"\n"
    for about, data in rows:
        text += json.dumps({**about, "bytes": len(data)}).encode() + b"\n" + data
    return text + b'{"part":"end"}\n'


async def test_no_other_server_takes_runs(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        with pytest.raises(NotFound, match="service of shared runs alone"):
            await service.receptions.check({"run": RUN, "pipeline": PIPELINE}, "me")
        with pytest.raises(NotFound):
            await service.receptions.accept("0" * 64, "me")


MAP = {"name": "p", "tasks": [{**PIPELINE["tasks"][0], "for_each": "{{ seed.rows }}", "shards": 2}]}  # type: ignore[dict-item]
WITH_PIPELINE = {"name": "p", "tasks": [{"name": "t", "pipeline": {**PIPELINE, "name": "q"}}]}
ENDLESS = "a file of all bytes that there are"


def event(kind: str, **data: Any) -> Any:
    return {"type": kind, "task": "t", "data": data}


def created(**more: Any) -> Any:
    tasks = [{"name": "t", "kind": "prompt"}]
    return {
        "type": "run.created",
        "data": {"name": "n", "pipeline": "p", "version": "1", "tasks": tasks, **more},
    }


def planned(run: str) -> Any:
    return event("shards.planned", number=1, shards=[{"run": run, "shard": 1, "rows": "0"}])


def closed(run: str) -> Any:
    return event("shard.ended", run=run, state="done")


CREATED = created()
BAD: list[tuple[str, bytes]] = [
    (
        "code",
        archive(
            definition={"pipeline": {"name": "p", "tasks": [{"name": "t", "source": "def inference(c): 1"}]}}
        ),
    ),
    ("another run's id", archive({"run": "../../etc"})),
    ("a state that is none", archive({"state": "moved"})),
    ("a hole in its records", archive({"n": 2})),
    ("a file elsewhere", archive(None, None, ({"part": "file", "name": "../../x"}, b"x"))),
    ("a file up", archive(None, None, ({"part": "file", "name": "artifacts/../../../x"}, b"x"))),
    ("rows of a wrong hash", archive(None, None, ({"part": "rows", "name": "0" * 64}, b"1\n"))),
    ("an unknown part", archive(None, None, ({"part": "x"}, b""))),
    ("a child run", archive(definition={"parent": {"run": "a", "task": "t", "shard": 1}})),
    ("no pipeline", archive(definition={"pipeline": "x"})),
    ("an end that is none by its history", history([draft("run.started")])),
    ("no end by itself", archive({"state": "pending"})),
    ("a time that is none of the run", archive({"created_at": "t"})),
    ("a time without an offset", archive({"updated_at": "2026-11-27T12:00:00"})),
    ("a time that is none of an event", history([draft("run.done")], at="yesterday")),
    ("a task of its own", history([draft("task.started", "other"), draft("run.done")])),
    ("a parent", history([created(parent={"run": "a", "task": "t", "shard": 1}), draft("run.done")])),
    ("child runs of a prompt", history([planned("1" * 22), closed("1" * 22), draft("run.done")])),
    ("child runs at work", history([planned("1" * 22), draft("run.done")], None, {"pipeline": MAP})),
    (
        "the run of a pipeline, told as a prompt",
        history([CREATED, planned("1" * 22), closed("1" * 22), draft("run.done")], None, {"pipeline": WITH_PIPELINE}),
    ),
    ("a kind that is another", history([created(tasks=[{"name": "t", "kind": "python"}]), draft("run.done")])),
    ("data of another kind", history([event("task.waiting", reason=[1], seconds="x"), draft("run.done")])),
    (
        "data that no view shows",
        history([event("map.progress", done="many", failed=[], total=1, in_flight=0), draft("run.done")]),
    ),
    ("a row with half a number", archive(None, None, ({"part": "row", "kind": "c", "n": 2.0}, b"{}"))),
    (
        ENDLESS,
        archive()[:-15] + b'{"part":"file","name":"artifacts/x","bytes":9223372036854775807}\n{"part":"end"}\n',
    ),
]  # fmt: skip


async def test_what_is_not_a_run_without_code_is_refused_for_good_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with orchestrator(
        tmp_path / "data", hub_behalf=True, hub_url="http://127.0.0.1:9/services/po"
    ) as service:
        receptions = service.receptions
        monkeypatch.setattr(receptions, "_preflight", type("All", (), {"check": lambda *a, **k: None})())

        async def give(content: bytes) -> str:
            sha256 = hashlib.sha256(content).hexdigest()
            upload = await receptions.receive(sha256, "alice")
            await upload.write(content)
            await upload.finish()
            return sha256

        for name, content in BAD:
            with pytest.raises(PoError) as refused:
                sha256 = await give(content)
                await receptions.accept(sha256, "alice")
                pytest.fail(f"{name} was accepted")
            if name == ENDLESS:  # not even kept
                continue
            assert refused.value.details["handover"] == "refused", name
            with pytest.raises(NotFound):  # no late request takes it
                await receptions.accept(sha256, "alice")
            with pytest.raises(NotFound):
                service.store.head(RUN)
        assert not list(tmp_path.rglob("x"))
        with pytest.raises(InvalidInput):
            await give(archive()[:-20])
        sha256 = await give(
            archive({"owner": "root", "holder": {"pid": 1}}, {"cwd": "/etc", "interpreter": "/bin/sh"})
        )
        with pytest.raises(NotFound):
            await receptions.accept(sha256, "bob")
        view = await receptions.accept(sha256, "alice")
        assert (view.owner, view.state) == ("alice", "done")
        assert (await receptions.accept(sha256, "alice")).id == RUN
        kept = service.store.definition(RUN)
        assert (kept["code_allowed"], kept["cwd"], kept["interpreter"], kept["env"]) == (False, None, None, {})
        assert service.store.head(RUN)["holder"] is None
        with pytest.raises(PoError, match="already"):
            await receptions.accept(await give(archive({"name": "other"})), "alice")
        assert service.store.head(RUN)["owner"] == "alice"


async def service_of(folder: Path, monkeypatch: pytest.MonkeyPatch, stack: AsyncExitStack) -> Any:
    """A service of shared runs whose models everybody may ask."""
    service = await stack.enter_async_context(
        orchestrator(folder, hub_behalf=True, hub_url="http://127.0.0.1:9/services/po")
    )
    monkeypatch.setattr(service.receptions, "_preflight", type("All", (), {"check": lambda *a, **k: None})())
    return service


async def send(service: Any, content: bytes, owner: str) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    upload = await service.receptions.receive(sha256, owner)
    await upload.write(content)
    await upload.finish()
    return sha256


async def test_a_history_that_names_another_persons_run_does_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleting a run deletes its child runs, and a crash ends them: those that are its own."""
    async with AsyncExitStack() as stack:
        service = await service_of(tmp_path / "data", monkeypatch, stack)
        first = await send(service, archive({"run": "1" * 22}), "bob")
        await service.receptions.accept(first, "bob")
        ends = [closed("1" * 22), draft("run.done")]
        content = history([CREATED, planned("1" * 22), *ends], None, {"pipeline": MAP})
        with pytest.raises(PoError, match="which are not"):
            await service.receptions.accept(await send(service, content, "eve"), "eve")
        ends = [closed("2" * 22), draft("run.done")]
        later = history([CREATED, planned("2" * 22), *ends], None, {"pipeline": MAP})
        await service.receptions.accept(await send(service, later, "eve"), "eve")
        second = await send(service, archive({"run": "2" * 22}), "bob")  # it is there only then
        await service.receptions.accept(second, "bob")
        await service.control.delete(RUN, "eve")
        for run in ("1" * 22, "2" * 22):
            assert service.store.head(run)["owner"] == "bob"


async def test_a_gate_of_a_group_is_decided_by_those_who_may_there_and_not_by_a_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may start runs of a group and decide no gates of it hands over one that says it was approved."""
    async with AsyncExitStack() as stack:
        service = await service_of(tmp_path / "data", monkeypatch, stack)
        events = [
            CREATED, draft("gate.opened", "t", message="?"),
            draft("gate.decided", "t", decision="approve", by="user:carol"), draft("run.done"),
        ]  # fmt: skip
        sha256 = await send(service, history(events), "group:ops")
        with pytest.raises(Forbidden, match="for its approvers to decide") as refused:
            await service.receptions.accept(sha256, "group:ops", may_decide=False)
        assert refused.value.details["handover"] == "refused"
        sha256 = await send(service, history(events), "group:ops")
        assert (await service.receptions.accept(sha256, "group:ops")).state == "done"


async def test_files_of_a_run_that_is_refused_are_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They took room for good, and were artifacts of whoever had a run of that id accepted later."""
    async with AsyncExitStack() as stack:
        service = await service_of(tmp_path / "data", monkeypatch, stack)
        file = ({"part": "file", "name": "artifacts/x.txt"}, b"of eve")
        sha256 = await send(service, archive(None, None, file, ({"part": "x"}, b"")), "eve")
        with pytest.raises(InvalidInput):
            await service.receptions.accept(sha256, "eve")
        directory = tmp_path / "data" / "runs" / RUN
        assert not directory.exists()
        directory.joinpath("artifacts").mkdir(parents=True)  # of a service that was killed in the midst of one
        directory.joinpath("artifacts", "y.txt").write_text("of eve")
        await service.receptions.accept(await send(service, archive(), "alice"), "alice")
        assert not directory.joinpath("artifacts", "y.txt").exists()
