"""A full or read-only disk: a clear error, the state as before, and everything goes on afterwards (R2.3)."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from po_jupyter.engine.files.artifacts import artifacts_by_name
from po_jupyter.errors import StoreUnusable
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.inbox import transitions as intake
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Commit
from tests.crash.crash_scenarios import Logged, _tree, dump, new, sound
from tests.support.engine import RUN, Bench

SIZE = 4 * 2**20


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)


class SmallDisk:
    """A file system of 4 MB of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        with open(self._filler, "ab", buffering=0) as file, contextlib.suppress(OSError):
            for size in (65536, 4096, 512, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size) == size:
                        pass

    def free(self) -> None:
        self._filler.unlink()

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        self.fill()
        try:
            yield
        finally:
            self.free()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        _mount("-o", "remount,ro", str(self.path))
        try:
            yield
        finally:
            _mount("-o", "remount,rw", str(self.path))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    path = tmp_path / "disk"
    path.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", f"size={SIZE},mode=700", "po-test", str(path))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"platform: no file system of our own can be mounted here ({type(error).__name__})")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)  # also when a test failed with files open


def said(error: StoreUnusable, *words: str) -> None:
    assert any(word in error.message for word in words), error.message
    assert error.hint


def test_the_store_on_a_full_disk(disk: SmallDisk) -> None:
    """P2, P11: every write that cannot be is refused as a whole; reads go on; so does the same lease later."""
    store = DiskStore(disk.path / "store", shards=1)
    store.create_run(new())
    lease = store.claim(RUN, {"pid": 1})
    big = Commit(events=[draft("x")], payloads=[os.urandom(200_000).hex()], state="running")
    store.commit(lease, big)
    with disk.full():
        for _ in range(2):
            caught = None
            for _ in range(40):  # what SQLite's files have room for is still taken
                before = dump(store, RUN)
                try:
                    store.commit(lease, big)
                except StoreUnusable as error:
                    caught = error
                    break
            assert caught is not None
            said(caught, "full", "disk answers with an error")
            assert dump(store, RUN) == before
    store.commit(lease, big)
    sound(store)
    store.close()


def test_the_store_on_a_read_only_disk(disk: SmallDisk) -> None:
    """P11."""
    store = DiskStore(disk.path / "store", shards=1)
    store.create_run(new())
    store.close()
    before = dump(store, RUN)
    store.close()
    with disk.read_only():
        with pytest.raises(StoreUnusable) as caught:
            store.request(RUN, [draft("x")])
        said(caught.value, "read-only", "Read-only")
        store.close()
    assert dump(store, RUN) == before
    store.request(RUN, [draft("x")])
    store.close()


def test_files_and_intents_on_a_full_disk(disk: SmallDisk) -> None:
    """R2.3, B9: no run, the seed where it was, nothing half-written; the same seed is taken in later."""
    inbox = disk.path / "inbox"
    (inbox / "pending").mkdir(parents=True)
    (inbox / "pending" / "a-seed.json").write_bytes(b"{}")
    store = DiskStore(disk.path / "store", shards=1)
    store.get("k", "warm")
    intents = intake.open_intents(inbox, store)
    with disk.full():
        with pytest.raises(StoreUnusable) as caught:
            intake.take_in(intents, store, new(), "a-seed.json")
        said(caught.value, "the disk is full")
        assert store.runs().heads == []
        assert list(_tree(inbox)) == ["pending/a-seed.json"]
    store.close()  # a disk with files open for writing cannot become read-only
    with disk.read_only():
        with pytest.raises(StoreUnusable) as caught:
            intake.reject(intents, "a-seed.json", {})
        said(caught.value, "Read-only")
        assert list(_tree(inbox)) == ["pending/a-seed.json"]
    assert intents.recover() == []
    head, created = intake.take_in(intents, store, new(), "a-seed.json")
    assert (head["run"], created) == (RUN, True)
    assert list(_tree(inbox)) == [f"current/{RUN}/a-seed.json", f"current/{RUN}/definition.json"]
    store.close()


FILLS = """
def integration(ctx):
    ctx.io.write_artifact("big.bin", b"x" * 8_000_000)
"""


async def test_an_artifact_that_does_not_fit_is_waited_for(disk: SmallDisk) -> None:
    """P11, P12: its worker gives the run back, as for a full store; what was done stays, and goes on from there."""
    bench = Bench(disk.path, DiskStore(disk.path / "store", shards=1))
    bench.create([
        {"name": "ask", "prompt": "hello"},
        {"name": "big", "source": FILLS, "retry": {"max_attempts": 1}},
    ])  # fmt: skip
    with pytest.raises(StoreUnusable) as caught:
        await bench.go()
    said(caught.value, "the disk is full")
    assert artifacts_by_name(bench.state) == {}
    assert not [name for name in _tree(disk.path / "runs") if ".po-" in name]
    assert bench.state.tasks["ask"].state == "done"
    _mount("-o", f"remount,size={5 * SIZE}", str(disk.path))
    assert await bench.go() == "done"
    assert bench.state.tasks["big"].attempt == 1
    assert bench.fake.prompts == ["hello"]
    bench.store.close()


WRITES = {
    "artifact": 'ctx.io.write_artifact("big.bin", DATA)',
    "log": 'ctx.io.write_log("big.bin", DATA)',
    "scratch": 'ctx.io.write_tmp("big.bin", DATA, append=True)',
    "many files": 'for n in range(10_000): ctx.io.write_tmp(f"{n}.txt", "x" * 100)',
    "print": "for n in range(80_000): print('x' * 100)",
    "database": 'ctx.io.db().execute("create table if not exists t (b blob)");'
    ' ctx.io.db().execute("insert into t values (?)", (DATA,))',
    "batch": "ctx.io.batch([1], lambda row: DATA.decode())",
    "piece of a batch": 'ctx.io.batch([1], lambda row: (ctx.io.task_dir / f"x{ctx.item}").write_bytes(DATA))',
    "file of its own": '(ctx.io.task_dir / f"x{ctx.item}").write_bytes(DATA)',
    "error of its own": """try:
        (ctx.io.task_dir / f"x{ctx.item}").write_bytes(DATA)
    except OSError as error:
        raise RuntimeError("cannot save") from error""",
}
ASKS = """
DATA = b"x" * 8_000_000
def inference(ctx):
    return ctx.llm.chat(f"row {ctx.item}").text
def integration(ctx):
    WRITE
"""


@pytest.mark.parametrize(
    ("rows", "write"),
    [
        *((1, write) for write in WRITES),
        # Eight at once: by default one way to meet the disk, the others are as slow as it.
        *(pytest.param(8, write, marks=[] if write == "many files" else pytest.mark.slow) for write in WRITES),
    ],
)
async def test_a_task_that_meets_a_full_disk_waits_and_pays_for_no_call_twice(
    disk: SmallDisk, tmp_path: Path, write: str, rows: int
) -> None:
    """P3, P12: 100 rows whose artifacts did not fit were 300 calls: each was tried three times."""
    bench = Bench(disk.path, DiskStore(tmp_path / "store", shards=1))
    source = ASKS.replace("WRITE", WRITES[write])
    bench.create([{"name": "a", "source": source, "for_each": str(list(range(rows)))}])
    for _ in range(3):
        with pytest.raises(StoreUnusable) as caught:
            await bench.go()
        said(caught.value, "full")
    assert bench.events("task.retrying", "task.failed", "item.failed") == []
    assert bench.state.usage.unknown == 0
    _mount("-o", f"remount,size={40 * SIZE}", str(disk.path))
    assert await bench.go() == "done"
    assert sorted(bench.fake.prompts) == [f"row {n}" for n in range(rows)]
    assert bench.state.tasks["a"].attempt == 1
    bench.store.close()


async def test_a_run_whose_disk_fills_up_goes_on_when_there_is_space(disk: SmallDisk, tmp_path: Path) -> None:
    """P3, P12: the worker ends with a clear error; the next one does what is left and asks nothing twice."""
    bench = Bench(disk.path, DiskStore(disk.path / "store", shards=1))
    bench.fake = Logged(tmp_path / "asked.log")
    text = os.urandom(40_000).hex()
    tasks = [{"name": f"t{i}", "prompt": f"{i}-{{{{ seed.text }}}}"} for i in range(12)]
    bench.create(tasks, {"text": text})
    disk.fill()
    with pytest.raises(StoreUnusable) as caught:
        await bench.go()
    said(caught.value, "full", "disk answers with an error")
    sound(bench.store)
    recorded = sum(call["kind"] == "response" for record in bench.records() for call in record["calls"])
    asked = len((tmp_path / "asked.log").read_text().split()) if (tmp_path / "asked.log").exists() else 0
    disk.free()
    assert await bench.go() == "done"
    prompts = (tmp_path / "asked.log").read_text().split()
    assert len(prompts) <= 12 + (asked - recorded)
    assert {p.partition("-")[0] for p in prompts} == {str(i) for i in range(12)}
    sound(bench.store)
    bench.store.close()
