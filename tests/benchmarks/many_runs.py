"""A store with many runs, filled without the price of a commit each; and what is asked of its lists."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from po_jupyter.store.keyed import run_index, run_log
from po_jupyter.store.keyed.shard import Shard
from po_jupyter.store.keyed.store import KeyedStore
from po_jupyter.store.protocol import Commit, Head
from po_jupyter.testing.conformance.store import event

MANY = 100_000
_AT_ONCE = 2000
FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "owner": {"owner": "ada"},
    "an owner without runs": {"owner": "nobody"},
    "failed": {"states": ("failed",)},
    "dead (there are none)": {"states": ("dead",)},
    "pipeline": {"pipeline": "p7"},
    "a pipeline without runs": {"pipeline": "none"},
    "owner and failed": {"owner": "ada", "states": ("failed",)},
    "owner and pipeline": {"owner": "bob", "pipeline": "p3"},
    "owner and the pipeline of another": {"owner": "ada", "pipeline": "of-bob"},
    "all three": {"owner": "bob", "pipeline": "p7", "states": ("cancelled", "failed")},
}


def fill(store: KeyedStore, many: int = MANY) -> None:
    """`many` ended runs: nearly all ada's and done."""
    by_shard: dict[int, list[str]] = {}
    for number in range(many):
        run = f"01{number:020d}"
        by_shard.setdefault(store._shard(run) if store.shards < 100 else number // _AT_ONCE, []).append(run)
    for shard, runs in by_shard.items():
        for start in range(0, len(runs), _AT_ONCE):

            def work(rows: Shard, some: list[str] = runs[start : start + _AT_ONCE]) -> None:
                for run in some:
                    _create(rows, run)

            store._at(shard, work, write=True)


def _create(rows: Shard, run: str) -> None:
    number = int(run[2:])
    state = "failed" if number % 1000 == 1 else "cancelled" if number % 1000 == 2 else "done"
    owner = "bob" if number % 10 == 0 else "ada"
    head: Head = {
        "run": run, "owner": owner, "pipeline": "of-bob" if number % 500 == 0 else f"p{number % 10}",
        "version": "1.0.0", "name": f"seed {number}", "state": state, "created_at": "2026-11-22T12:00:00.000Z",
        "updated_at": "2026-11-22T12:00:00.000Z", "priority": 0, "fence": 1, "n": 0, "offset": 0, "holder": None,
    }  # fmt: skip
    rows.write(f"def/{run}", {"definition": {}})
    run_index.add(rows, run)
    run_log.append(rows, head, Commit(events=[event("run.created")], state=state))


def lists(store: KeyedStore) -> tuple[float, str, float]:
    """The slowest filter of 50 runs in ms, which one, and the ms of the very first filtered list."""
    began = time.perf_counter()
    store.runs(owner="nobody")
    first = (time.perf_counter() - began) * 1000
    taken = {name: timed(partial(store.runs, **filters, limit=50)) for name, filters in FILTERS.items()}
    slowest = max(taken, key=lambda name: taken[name])
    return taken[slowest], slowest, first


def timed(call: Callable[[], object], times: int = 11) -> float:
    """The median of some calls, in ms."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return median(seconds) * 1000
