"""What leaves user code and is no `Exception` fails the task, never the worker, and never ends a run well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.engine import Bench

LEAVE = {
    "its own cancellation": "import asyncio\nasync def ingestion(ctx):\n    raise asyncio.CancelledError\n",
    "one from a thread": "import asyncio\ndef ingestion(ctx):\n    raise asyncio.CancelledError\n",
    "a call that was cancelled": (
        "import asyncio\n"
        "async def ingestion(ctx):\n"
        "    inner = asyncio.ensure_future(asyncio.sleep(9))\n"
        "    inner.cancel()\n"
        "    await inner\n"
    ),
    "sys.exit": "import sys\ndef ingestion(ctx):\n    sys.exit(3)\n",
    "sys.exit on the loop": "import sys\nasync def ingestion(ctx):\n    sys.exit()\n",
    "sys.exit of the module": "import sys\nsys.exit(2)\n",
    "a class of its own": "class Out(BaseException): ...\ndef ingestion(ctx):\n    raise Out('enough')\n",
}


@pytest.mark.parametrize("source", LEAVE.values(), ids=LEAVE.keys())
async def test_whatever_a_stage_raises_fails_its_task(tmp_path: Path, source: str) -> None:
    """DESIGN, Order and Ends: a program error is `failed`; what waited for it stays pending."""
    bench = Bench(tmp_path).create([
        {"name": "a", "source": source, "retry": {"max_attempts": 1}},
        {"name": "b", "prompt": "after"},
    ])  # fmt: skip
    assert await bench.go() == "failed"
    states = {name: task.state for name, task in bench.state.tasks.items()}
    assert states == {"a": "failed", "b": "pending"}
    assert not bench.fake.requests


async def test_a_row_that_cancels_itself_fails_alone(tmp_path: Path) -> None:
    """DESIGN, Maps: its neighbours are done."""
    source = (
        "import asyncio\n"
        "async def ingestion(ctx):\n"
        "    if ctx.item == 1:\n"
        "        raise asyncio.CancelledError\n"
        "    return ctx.item\n"
    )
    rows = {"name": "a", "source": source, "for_each": "{{ seed.rows }}", "retry": {"max_attempts": 1}}
    bench = Bench(tmp_path).create([rows], {"rows": [0, 1, 2]})
    assert await bench.go() == "done"
    items = bench.state.tasks["a"].items
    assert items is not None
    assert (items.done, items.failed) == (2, 1)
