"""Outputs of tasks: read from the log when they are used, and what templates and maps see of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.prompts.row_origins import OriginRows
from po_jupyter.engine.replay.history import map_marker, read_history
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.engine.run.outputs import OutputStore
from po_jupyter.model.run.events import draft
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit, ItemDraft
from tests.support.engine import RUN, inputs_of, new_run

MAP = {"name": "m", "prompt": "{{ item }}", "for_each": "seed.rows"}
TASKS = [MAP, {"name": "b", "prompt": "x"}, {"name": "c", "prompt": "x", "needs": ["m"]}]


class CountingStore(MemoryStore):
    """Counts the payloads that are read."""

    reads = 0

    def payload(self, *args: Any) -> Any:
        self.reads += 1
        return super().payload(*args)


def done(task: str) -> Any:
    return draft("task.done", task, output=0, seconds=1.0)


class Rig:
    """A log with these commits, and the outputs of its run."""

    def __init__(self, tmp: Path, *commits: Commit, tasks: list[Any] | None = None, **seed: Any) -> None:
        self.store = CountingStore()
        tasks = TASKS if tasks is None else tasks
        pipeline = new_run(self.store, {"name": "p", "tasks": tasks}, seed)
        lease = self.store.claim(RUN, {"pid": 1})
        for commit in commits:
            self.store.commit(lease, commit)
        history = read_history(self.store, RUN)
        self.log = RunLog(self.store, lease, history, pipeline)
        self.outputs = OutputStore(inputs_of(tmp, tasks, seed), self.log, history)

    def task(self, name: str) -> Any:
        return self.log.pipeline.task(name)


@asynccontextmanager
async def rig(tmp: Path, *commits: Commit, **more: Any) -> AsyncIterator[Rig]:
    made = Rig(tmp, *commits, **more)
    yield made
    await made.log.aclose()


def map_commits(total: int = 3, **more: Any) -> list[Commit]:
    """A map whose rows 0 and 2 have an output and whose row 1 failed."""
    items: list[ItemDraft] = [
        {"task": "m", "index": 0, "ok": True, "output": 0},
        {"task": "m", "index": 1, "ok": False, "error": {"code": "x", "message": "no"}},
        {"task": "m", "index": 2, "ok": True, "output": 1},
    ]
    return [
        Commit([draft("map.started", "m", total=total, **more)], items, payloads=["first", "third"]),
        Commit([done("m")], payloads=[map_marker("m", total)]),
    ]


async def test_an_output_is_read_from_the_store_once(tmp_path: Path) -> None:
    async with rig(tmp_path, Commit([done("b")], payloads=[{"k": [1]}])) as r:
        assert r.outputs.output("b") == {"k": [1]} == r.outputs.output("b")
        assert r.store.reads == 1
        r.outputs.forget("b")
        assert r.outputs.output("b") == {"k": [1]}
        assert r.store.reads == 2
        assert r.outputs.output("m") is None, "it has none yet"
        assert r.outputs.output("nowhere") is None


async def test_only_the_outputs_used_last_stay_in_memory(tmp_path: Path) -> None:
    """A run of a thousand tasks does not hold a thousand outputs."""
    async with rig(tmp_path, Commit([done("b")], payloads=["b"])) as r:
        r.outputs.output("b")
        for i in range(60):
            r.outputs.put(f"t{i}", i)
        r.outputs.output("b")
        for i in range(60):
            r.outputs.put(f"u{i}", i)
        r.outputs.output("b")
        assert r.store.reads == 1, "it was used meanwhile"
        for i in range(64):
            r.outputs.put(f"v{i}", i)
        assert r.outputs.output("b") == "b"
        assert r.store.reads == 2


async def test_the_output_of_a_map_is_its_rows_with_their_failures(tmp_path: Path) -> None:
    async with rig(tmp_path, *map_commits()) as r:
        rows = r.outputs.output("m")
        assert [row["ok"] for row in rows] == [True, False, True]
        assert [row["output"] for row in rows] == ["first", None, "third"]


async def test_a_task_sees_the_tasks_that_it_waits_for_and_no_others(tmp_path: Path) -> None:
    """B1: what is not finished for sure would be there today and not tomorrow."""
    async with rig(tmp_path, Commit([done("b")], payloads=["b"])) as r:
        seen = r.outputs.outputs_for(r.task("c"))
        assert (list(seen), len(seen), "b" in seen, "m" in seen) == (["m"], 1, False, True)
        with pytest.raises(KeyError):
            seen["b"]
        assert r.outputs.outputs_for(r.task("b"))["m"] is None


async def test_templates_see_seed_run_and_attempt(tmp_path: Path) -> None:
    async with rig(tmp_path, rows=[1]) as r:
        names = r.outputs.names(r.task("b"), 2)
    assert names["seed"]["rows"] == [1]
    run = {key: names["run"][key] for key in ("id", "name", "pipeline", "attempt")}
    assert run == {"id": RUN, "name": "seed", "pipeline": "p", "attempt": 2}


async def test_a_task_behind_a_map_reads_rows(tmp_path: Path) -> None:
    """Its templates are rendered in a thread: each row may be read from the store."""
    async with rig(tmp_path) as r:
        assert [r.outputs.reads_rows(r.task(name)) for name in "mbc"] == [False, True, True]
    alone = [{"name": "b", "prompt": "x"}, {"name": "c", "prompt": "y"}]
    async with rig(tmp_path, tasks=alone) as r:
        assert not r.outputs.reads_rows(r.task("c"))


@pytest.mark.parametrize(
    ("expression", "rows", "places"),
    [
        ("seed.rows", [30, 10, 20], [0, 1, 2]),
        ("seed.rows | sort", [10, 20, 30], [1, 2, 0]),
        ("[1, 2]", [1, 2], None),
    ],
)
async def test_rows_of_a_map_know_their_place_in_the_seed(
    tmp_path: Path, expression: str, rows: list[int], places: list[int] | None
) -> None:
    """An answer belongs to a row of somebody's table."""
    tasks = [{**MAP, "for_each": expression}]
    async with rig(tmp_path, tasks=tasks, rows=[30, 10, 20]) as r:
        found = r.outputs.for_each(r.task("m"), r.outputs.names(r.task("m"), 1))
    assert list(found) == rows
    known = [found.origin.position(i) for i in range(len(rows))] if isinstance(found, OriginRows) else None
    assert known == places


async def test_rows_of_an_earlier_map_are_those_that_it_had(tmp_path: Path) -> None:
    """Through two maps: the second one's rows are still those of the seed; one without an outcome is nobody's."""
    again = {"name": "again", "prompt": "{{ item.output }}", "for_each": "tasks.m"}
    items: list[ItemDraft] = [{"task": "m", "index": i, "ok": True, "output": 0, "row": 5 - i} for i in (0, 1)]
    commits = [
        Commit([draft("map.started", "m", total=3, of="rows")], items, payloads=["x"]),
        Commit([done("m")], payloads=[map_marker("m", 3)]),
    ]
    async with rig(tmp_path, *commits, tasks=[MAP, again], rows=[1, 2, 3, 4, 5, 6]) as r:
        found = r.outputs.for_each(r.task("again"), r.outputs.names(r.task("again"), 1))
        assert isinstance(found, OriginRows)
        assert (found.origin.path, [found.origin.position(i) for i in range(3)]) == ("rows", [5, 4, -1])
