"""Artifacts are there when, and only when, the commit of their task is (R2.3, B4)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.files.artifacts import RunFiles, artifacts_by_name, remove_unlisted, shared_seed_file
from po_jupyter.engine.replay.history import History, read_history
from po_jupyter.engine.state.run_state import RunState, TaskState
from po_jupyter.errors import NotFound, StoreUnusable
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.views.artifacts import seed_files_of
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.objects.directory import DirectoryObjects
from po_jupyter.store.objects.protocol import ObjectStore
from po_jupyter.store.objects.shared_files import RunFile, SharedFiles
from po_jupyter.store.protocol import NewRun, Store
from tests.support.engine import RUN, Bench
from tests.support.file_share import DirectShare


def python(name: str, source: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "source": source, "retry": {"max_attempts": 1}, **more}


def files(bench: Bench) -> list[str]:
    root = bench.tmp / "runs" / RUN / "artifacts"
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


WRITES = "def integration(ctx):\n    ctx.io.write_artifact('a.txt', ctx.meta['task'])\n"
READS = "def integration(ctx):\n    return ctx.io.read_artifact('a.txt')\n"
FAILS = "def integration(ctx):\n    ctx.io.write_artifact('a.txt', 'half')\n    raise ValueError('no')\n"


class Attempts:
    """The artifacts of a run that is in no store: attempts end by hand."""

    def __init__(self, run_dir: Path, *tasks: str, fence: int = 1) -> None:
        self.state = RunState(RUN)
        self.state.tasks = {name: TaskState(name, attempt=1) for name in tasks}
        self.files = RunFiles(run_dir, fence, History(self.state), lambda: self.state)

    def done(self, task: str) -> list[Any]:
        """End the task well; its artifacts."""
        listed = self.files.commit_fields(task).get("artifacts", [])
        tasks = {**self.state.tasks, task: TaskState(task, attempt=1, artifacts=tuple(listed))}
        self.state = RunState(RUN, tasks=tasks)
        return listed


def test_an_attempt_sees_its_own_files_and_others_only_once_its_task_is_done(tmp_path: Path) -> None:
    run = Attempts(tmp_path, "one", "two")
    frame, other = object(), object()
    run.files.attempt("one", None, 1, frame).write("a.txt", b"one")
    assert run.files.attempt("one", None, 1, frame).read("a.txt") == b"one"
    assert run.files.attempt("two", None, 1, other).names() == [] == run.files.now().names()
    assert [entry["name"] for entry in run.done("one")] == ["a.txt"]
    assert run.files.attempt("two", None, 1, other).read("a.txt") == b"one"
    assert run.files.digests() == {"a.txt": sha256(b"one").hexdigest()}


def test_an_attempt_that_failed_leaves_no_artifact_to_the_next(tmp_path: Path) -> None:
    run = Attempts(tmp_path, "one")
    run.files.attempt("one", None, 1, object()).write("a.txt", b"half")
    run.files.forget("one")
    again = run.files.attempt("one", None, 2, object())
    with pytest.raises(NotFound):
        again.read("a.txt")
    assert run.done("one") == []


def test_artifacts_of_rows_are_listed_with_the_row_and_with_the_map(tmp_path: Path) -> None:
    run = Attempts(tmp_path, "m")
    for index in (1, 0):
        run.files.attempt("m", index, 1, object()).write(f"{index}.txt", b"x")
        (entry,) = run.files.commit_fields("m", index)["artifacts"]
        assert entry["path"] == f"m/1-1/{index}-1/{index}.txt"
    run.files.attempt("m", 2, 1, object())
    assert run.files.commit_fields("m", 2) == {}
    assert [entry["name"] for entry in run.done("m")] == ["0.txt", "1.txt"]


def test_of_two_tasks_that_wrote_a_name_the_later_ones_counts(tmp_path: Path) -> None:
    run = Attempts(tmp_path, "one", "two", "three")
    for task in ("one", "two"):
        run.files.attempt(task, None, 1, object()).write("a.txt", task.encode())
        run.done(task)
    written = run.files.attempt("three", None, 1, object())
    assert written.read("a.txt") == b"two"
    written.append("a.txt", b" and more")
    assert written.read("a.txt") == b"two and more"
    assert run.files.now().read("a.txt") == b"two", "what it appended to is a file of its own"


def test_files_that_no_commit_lists_are_removed(tmp_path: Path) -> None:
    run = Attempts(tmp_path, "one", "two")
    run.files.attempt("one", None, 1, object()).write("kept/a.txt", b"1")
    run.files.attempt("two", None, 1, object()).write("gone/b.txt", b"2")
    assert remove_unlisted(tmp_path, run.done("one")) == 1
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["a.txt"]
    assert not list(tmp_path.rglob("gone"))
    assert remove_unlisted(tmp_path / "nowhere", []) == 0


async def test_the_log_lists_what_a_task_wrote(bench: Bench) -> None:
    """P1: with size and content hash; of two tasks that write one name, the later one's counts."""
    bench.create([python("one", WRITES), python("two", WRITES), python("three", READS)])
    assert await bench.go() == "done"
    assert bench.output("three") == "two"
    done = [e["data"].get("artifacts") for e in bench.events("task.done")]
    assert [[a["name"] for a in said or ()] for said in done] == [["a.txt"], ["a.txt"], []]
    artifact = artifacts_by_name(read_history(bench.store, RUN).state)["a.txt"]
    assert (artifact["path"], artifact["bytes"], len(artifact["sha256"])) == ("two/1-1/a.txt", 3, 64)
    assert files(bench) == ["one/1-1/a.txt", "two/1-1/a.txt"]


async def test_what_a_failed_attempt_wrote_is_no_artifact(bench: Bench) -> None:
    """R2.3: and it is gone when the run is taken up again."""
    bench.create([python("one", FAILS)])
    assert await bench.go() == "failed"
    assert artifacts_by_name(bench.state) == {}
    assert files(bench) == ["one/1-1/a.txt"]
    bench.resume("one")
    async with bench.worker():
        assert files(bench) == []


async def test_a_resume_keeps_what_other_tasks_wrote(bench: Bench) -> None:
    """P12."""
    source = READS.replace("return", "assert ctx.meta['attempt'] > 1; return")
    bench.create([python("one", WRITES), python("two", source)])
    assert await bench.go() == "failed"
    bench.resume("two")
    assert await bench.go() == "done"
    assert bench.output("two") == "one"


async def test_rows_keep_their_artifacts_with_their_outcomes(bench: Bench) -> None:
    """P12: rows that are done are not run again, so theirs stay although others fail and are tried again."""
    source = (
        "def integration(ctx):\n"
        "    ctx.io.write_artifact(f'{ctx.item}.txt', str(ctx.item))\n"
        "    if ctx.item == 1 and ctx.tasks is not None and not ctx.io.task_dir.joinpath('ok').exists():\n"
        "        raise ValueError\n"
    )
    read = "def integration(ctx):\n    return [ctx.io.read_artifact(f'{i}.txt') for i in range(3)]\n"
    rows = python("map", source, for_each="{{ seed.rows }}", failure_threshold=0.0, max_concurrency=1)
    bench.create([rows, python("all", read)], {"rows": [0, 2, 1]})
    assert await bench.go() == "failed"
    (bench.tmp / "runs" / RUN / "tmp" / "map" / "ok").touch()
    bench.resume("map")
    assert await bench.go() == "done"
    assert bench.output("all") == ["0", "1", "2"]
    assert files(bench) == ["map/1-1/0-1/0.txt", "map/1-1/1-1/2.txt", "map/2-2/2-1/1.txt"]


async def test_files_of_the_seed_are_artifacts_too(bench: Bench) -> None:
    """B9."""
    given = bench.tmp / "runs" / RUN / "given"
    given.mkdir(parents=True)
    (given / "a.txt").write_text("from the seed")
    bench.create([python("one", READS), python("two", WRITES), python("three", READS)])
    assert await bench.go() == "done"
    assert [bench.output(t) for t in ("one", "three")] == ["from the seed", "two"]


async def test_of_a_full_disk_the_run_waits_and_goes_on_when_there_is_space(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R2.3, P11: the run is given back with what is wrong and what next; no attempt is spent."""
    bench.create([python("one", WRITES)])
    write, full = os.write, [True]

    def write_until_full(fd: int, data: Any) -> int:
        if full[0] and os.path.basename(os.readlink(f"/proc/self/fd/{fd}")).startswith(".po-"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    if not Path("/proc/self/fd").exists():
        pytest.skip("platform: no /proc")
    monkeypatch.setattr(os, "write", write_until_full)
    with pytest.raises(StoreUnusable, match="the disk is full") as caught:
        await bench.go()
    assert "Free some space" in caught.value.hint
    full[0] = False
    assert await bench.go() == "done"
    assert bench.state.tasks["one"].attempt == 1
    assert list(artifacts_by_name(bench.state)) == ["a.txt"]


# -- where nodes share files ----------------------------------------------------------------------------


class Node(Bench):
    """A node with a data directory of its own, over a store that others have too."""

    def __init__(self, tmp: Path, store: Store, objects: ObjectStore) -> None:
        super().__init__(tmp, store)
        self.files = SharedFiles(store, objects)
        self.share = self.direct = DirectShare(self.files, RUN, tmp / "runs" / RUN)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    (tmp_path / "shared").mkdir()
    store, objects = MemoryStore(), DirectoryObjects(tmp_path / "shared")
    nodes = Node(tmp_path / "1", store, objects), Node(tmp_path / "2", store, objects)
    yield nodes
    for node in nodes:
        node.files.close()


ONCE = "def integration(ctx):\n    assert ctx.meta['attempt'] > 1\n    return ctx.io.read_artifact('a.txt')\n"


async def test_a_node_that_takes_a_run_over_reads_what_another_one_wrote(two: tuple[Node, Node]) -> None:
    one, other = two
    rows = python(
        "rows", "def integration(ctx):\n    ctx.io.write_artifact(f'{ctx.item}', 'r')\n", for_each="[1, 2]"
    )
    reads = "def integration(ctx):\n    return [ctx.io.artifacts(), ctx.io.read_artifact('2', 'text')]\n"
    one.create([python("one", WRITES), rows, python("two", ONCE), python("three", reads, needs=["two"])])
    assert await one.go() == "failed"
    assert one.direct.fetched == []
    other.resume("two")
    assert await other.go() == "done"
    assert other.output("two") == "one"
    assert other.output("three") == [["1", "2", "a.txt"], "r"]
    assert len(other.direct.fetched) == 3
    assert one.direct.kept[0][0] == "artifacts/one/1-1/a.txt"


async def test_what_a_failed_attempt_wrote_is_not_put_there(two: tuple[Node, Node]) -> None:
    one, _ = two
    one.create([python("one", FAILS)])
    assert await one.go() == "failed"
    assert one.direct.kept == []


async def test_a_task_that_reads_a_file_that_was_changed_fails_and_says_so(
    two: tuple[Node, Node], tmp_path: Path
) -> None:
    one, other = two
    one.create(
        [python("one", WRITES), python("two", ONCE), python("three", "def integration(ctx):\n    return 1\n")]
    )
    assert await one.go() == "failed"
    (found,) = one.files.run_objects()
    (tmp_path / "shared" / found.info.key).write_bytes(b"onE")
    other.resume("two")
    assert await other.go() == "failed"
    message = other.state.tasks["two"].error["message"]
    assert "'a.txt' cannot be read here" in message and "was changed where it is kept" in message


async def test_a_task_that_changed_the_file_of_its_artifact_fails(two: tuple[Node, Node]) -> None:
    """What others would read is not what the log says."""
    one, _ = two
    source = (
        "def integration(ctx):\n    ctx.io.write_artifact('a.txt', 'a')\n"
        "    path = next((ctx.io.task_dir.parent.parent / 'artifacts').rglob('a.txt'))\n    path.write_text('b')\n"
    )
    one.create([python("one", source)])
    assert await one.go() == "failed"
    assert "changed after it was written" in one.state.tasks["one"].error["message"]
    assert list(one.files.run_objects()) == []


async def test_files_that_came_with_the_seed_are_read_on_every_node(two: tuple[Node, Node]) -> None:
    one, other = two
    given = one.tmp / "runs" / RUN / "given"
    given.mkdir(parents=True)
    (given / "a.txt").write_text("from the seed")
    files = seed_files_of(one.tmp / "runs" / RUN)
    one.files.keep(RUN, one.tmp / "runs" / RUN, [RunFile(*shared_seed_file(file)) for file in files])
    pipeline = validate_pipeline({"name": "p", "tasks": [python("one", READS)]})
    definition = {"pipeline": pipeline.to_json(), "seed": {"name": "s", "data": {}}, "seed_files": files}
    created = draft(
        "run.created", name="s", pipeline="p", version="1.0.0", tasks=[{"name": "one", "kind": "python"}]
    )
    one.store.create_run(NewRun(RUN, "me", "p", "1.0.0", "s", 0, definition, [created]))
    assert await other.go() == "done"
    assert other.output("one") == "from the seed"
