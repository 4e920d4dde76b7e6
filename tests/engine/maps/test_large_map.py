"""Done-when 4 of the second issue, in one process: many rows, flat memory, failing rows, and what a run keeps."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.errors import ModelRefused
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.model.run.row_file_ref import RowFileRef
from po_jupyter.model.run.usage import Usage
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.files.row_files import RowFiles
from tests.support.engine import RUN, Bench

pytestmark = pytest.mark.integration

SCHEMA = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "praise"]}}}


class Instant:
    """A model that answers at once, refuses the rows it is told to, and counts."""

    name = "fake"

    def __init__(self) -> None:
        self.refuse = True
        self.asked: Counter[int] = Counter()

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        number = int(request.messages[0].content.rsplit(" ", 1)[1])
        self.asked[number] += 1
        if self.refuse and number % 100 == 7:
            raise ModelRefused("not this one")
        return ChatResponse('{"label": "bug"}', Usage(input_tokens=40, output_tokens=6, calls=1), request.model)

    async def aclose(self) -> None:
        return None


def rows_file(tmp: Path, rows: int, owner: str = "me") -> dict[str, Any]:
    """A seed's data with that many rows in a file."""
    lines = [json.dumps({"text": f"ticket {i}: the export button does nothing", "i": i}) for i in range(rows)]
    data = ("\n".join(lines) + "\n").encode()
    digest = hashlib.sha256(data).hexdigest()
    receiver = RowFiles(tmp).receive(owner, digest)
    receiver.write(data)
    receiver.finish()
    return {"rows": RowFileRef(digest, rows).to_json()}


async def watch(most: list[int]) -> None:
    process = psutil.Process()
    while True:
        most[0] = max(most[0], process.memory_info().rss)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("rows", [10_000, pytest.param(50_000, marks=pytest.mark.slow)])
async def test_many_rows_in_little_memory_and_only_the_failed_again(tmp_path: Path, rows: int) -> None:
    """P12, R2.6: one in a hundred fails, the others are done; a resume asks for exactly those."""
    bench = Bench(tmp_path, DiskStore(tmp_path / "store"))
    model = bench.fake = Instant()
    task = {
        "name": "m",
        "prompt": "Label {{ item.text }} {{ item.i }}",
        "for_each": "{{ seed.rows }}",
        "output": SCHEMA,
        "max_concurrency": 100,
    }
    after = {"name": "n", "prompt": "{{ tasks.m | selectattr('ok') | list | length }} {{ 1 }}"}
    bench.create([task, after], rows_file(tmp_path, rows))
    async with bench.worker() as session:
        before = psutil.Process().memory_info().rss
        most = [before]
        watching = asyncio.ensure_future(watch(most))
        begun = time.perf_counter()
        assert await RunExecutor(session).run() == "done", session.log.state.error
        took = time.perf_counter() - begun
        watching.cancel()
        items = session.log.state.tasks["m"].items
        assert items is not None
        assert (items.total, items.done, items.failed) == (rows, rows * 99 // 100, rows // 100)
    grown = (most[0] - before) / 2**20
    print(f"{rows / took:.0f} rows/s, RSS +{grown:.0f} MB")
    assert grown < 150
    model.asked.pop(1, None)  # what `n` asked
    failed = {i for i in range(rows) if i % 100 == 7}
    model.refuse = False
    model.asked.clear()
    bench.resume("m", "n", clear=["n"])
    assert await bench.go() == "done"
    model.asked.pop(1)
    assert set(model.asked) == failed
    outcomes: Counter[int] = Counter(i["index"] for r in bench.records() for i in r["items"])
    assert outcomes == Counter({i: 2 if i in failed else 1 for i in range(rows)})
    bench.store.close()


async def test_a_runs_journal_holds_each_output_once(tmp_path: Path) -> None:
    """Done-when 5: a hundred tasks that pass 100 KB along."""
    bench = Bench(tmp_path, DiskStore(tmp_path / "store", shards=1))
    body = """
import base64, random
def integration(ctx):
    return {"mark": ctx.meta["task"], "text": base64.b64encode(random.randbytes(75_000)).decode()}
"""
    tasks = [{"name": f"t{i}", "source": body} for i in range(100)]
    bench.create(tasks)
    assert await bench.go() == "done"
    size = sum(len(json.dumps(bench.output(t.name))) for t in bench.session.log.pipeline.tasks)
    assert size > 9_900_000
    bench.store.close()  # closing the last connection puts the journal of SQLite into its database
    stored = sum(p.stat().st_size for p in (tmp_path / "store").rglob("*") if p.is_file())
    print(f"{stored / size:.3f} of the outputs")
    assert stored <= 1.2 * size


async def test_an_output_that_is_passed_along_is_stored_once(tmp_path: Path) -> None:
    """Done-when 5, the other way to read it: a hundred tasks hand on the same 100 KB."""
    bench = Bench(tmp_path, DiskStore(tmp_path / "store", shards=1))
    first = (
        "import base64, random\n"
        "def integration(ctx):\n    return base64.b64encode(random.randbytes(75_000)).decode()\n"
    )
    rest = "def integration(ctx):\n    return ctx.tasks['{}']\n"
    tasks = [{"name": "t0", "source": first}]
    tasks += [{"name": f"t{i}", "source": rest.format(f"t{i - 1}")} for i in range(1, 100)]
    bench.create(tasks)
    assert await bench.go() == "done"
    size = len(bench.output("t99"))
    bench.store.close()
    stored = sum(p.stat().st_size for p in (tmp_path / "store").rglob("*") if p.is_file())
    assert stored <= 5 * size, "not a hundred times"


async def test_resume_of_a_long_run_starts_its_next_task_without_reading_outputs(tmp_path: Path) -> None:
    """Done-when 8, R3.3: 1,000 finished tasks are one reading of the log; the benchmark has the time."""
    store = DiskStore(tmp_path / "store")
    bench = Bench(tmp_path, store)
    body = "def integration(ctx):\n    return {'text': 'x' * 2000}\n"
    bench.create([*({"name": f"t{i}", "source": body} for i in range(999)), {"name": "end", "prompt": "x"}])
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await asyncio.wait_for(bench.fake.waiting.wait(), 60)
        session.log.abandon()
        driving.cancel()
        await asyncio.wait([driving])
    read = Counter[str]()

    class Counting(DiskStore):
        def payload(self, run: str, ref: Any) -> Any:
            read["payload"] += 1
            return super().payload(run, ref)

        def payloads(self, run: str, n: int) -> list[Any]:
            read["payloads"] += 1
            return super().payloads(run, n)

        def records(self, run: str, *, after: int = 0, limit: int | None = None) -> Any:
            read["records"] += 1
            return super().records(run, after=after, limit=limit)

    store.close()
    bench.store = Counting(tmp_path / "store")
    bench.fake.waiting.clear()
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await asyncio.wait_for(bench.fake.waiting.wait(), 20)
        assert session.log.state.tasks["t998"].state == "done"
        assert read["payload"] == read["payloads"] == 0
        assert read["records"] <= 2
        bench.fake.gate.set()
        with contextlib.suppress(Exception):
            assert await driving == "done"
    assert bench.store.head(RUN)["state"] == "done"
    bench.store.close()
