"""Monitoring: the metrics of `GET metrics`. Until the first request for them nothing is counted and nothing costs.

Counters are read from the logs (`log_counters`), so they are as true as the runs, whoever worked them off and however
often workers died. A scrape is bounded: what it does not get to, the next one counts.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, get_args

import psutil

from po_jupyter.model.run.events import now
from po_jupyter.orchestrator.dispatch.protocol import Dispatcher
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.monitoring.log_counters import LogCounters
from po_jupyter.orchestrator.monitoring.loop_lag import LoopLag
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.workers import NodeState, WorkersView, queue_report
from po_jupyter.platform import processes
from po_jupyter.store.protocol import Head, Store
from po_jupyter.telemetry.metrics import Metrics

_MOST_RECORDS = 20_000  # that one scrape counts
_MOST_RUNS = 2_000  # that one scrape looks at
_MOST_CHANGED = 100_000  # runs that wait to be counted
_ACTIVE_STATES = ("pending", "running", "waiting")
_PROBE = ("probe", "ready")  # one document, whichever server asks


class ProbeReport(NamedTuple):
    """`works`: somebody works runs off. `broker`: the message broker answers; None where there is none."""

    works: bool
    broker: bool | None


class Monitoring:
    """The metrics of one orchestrator."""

    def __init__(
        self,
        store: Store,
        changes: ChangeFeed,
        dispatcher: Dispatcher,
        workers: Callable[[], WorkersView],
        to_thread: ToThread,
        data_dir: Path,
    ) -> None:
        """Nothing is counted before the first `metrics`."""
        self._store = store
        self._changes = changes
        self._dispatcher = dispatcher
        self._workers = workers
        self._to_thread = to_thread
        self._data_dir = data_dir
        self._changed: dict[str, int] = {}  # how often each run changed that is not counted yet
        self._lock = asyncio.Lock()
        self._metrics: Metrics | None = None
        self._counters: LogCounters | None = None
        self._lag: LoopLag | None = None

    async def metrics(self) -> bytes:
        """All metrics in Prometheus's text format. Raises StoreError."""
        async with self._lock:
            if self._metrics is None:
                await self._begin()
            assert self._metrics is not None
            nodes = Counter(node["state"] for node in await self._workers().nodes())
            for state in get_args(NodeState):
                self._metrics.nodes.labels(state).set(nodes[state])
            changed = dict(islice(self._changed.items(), _MOST_RUNS))
            counted = await self._to_thread(self._count, list(changed), self._dispatcher.is_holder)
            # Only now: of a scrape that fails nothing is lost. A run that changed meanwhile is looked at again.
            for run in counted:
                if self._changed.get(run) == changed[run]:
                    del self._changed[run]
            return await self._to_thread(self._metrics.text)

    async def probe(self) -> ProbeReport:
        """Read and write the store, by the threads that serve everybody: a full disk is read from all the same.
        Raises StoreError."""
        await self._to_thread(self._store.runs, limit=1)
        await self._to_thread(self._store.put, *_PROBE, now())
        report = await self._workers().report()
        broker = report["broker"]
        works = any(node["state"] == "works" for node in report["nodes"])
        return ProbeReport(works, broker["works"] if broker is not None else None)

    async def close(self) -> None:
        """Count no more."""
        self._changes.remove_listener(self._note)
        if self._lag is not None:
            await self._lag.close()

    async def _begin(self) -> None:
        metrics = Metrics()
        counters = LogCounters(self._store, metrics)
        self._changes.add_listener(self._note)
        await self._to_thread(counters.begin)
        self._lag = LoopLag(metrics.loop_lag.observe)
        self._lag.start()
        self._metrics, self._counters = metrics, counters

    def _note(self, run: str) -> None:
        if run in self._changed or len(self._changed) < _MOST_CHANGED:
            self._changed[run] = self._changed.get(run, 0) + 1

    def _count(self, runs: Sequence[str], holder: bool) -> list[str]:
        """Count what is new in the logs of these runs, and look at what is now; the runs that are done with. Blocks."""
        assert self._metrics is not None and self._counters is not None
        budget, counted = _MOST_RECORDS, []
        for run in runs:
            found = self._counters.count(run, budget)
            budget -= found
            if budget <= 0:
                break
            counted.append(run)
        began = time.perf_counter()
        self._store.runs(limit=1)
        self._metrics.store_seconds.observe(time.perf_counter() - began)
        self._look(self._metrics, self._store.active(), holder)
        return counted

    def _look(self, metrics: Metrics, heads: list[Head], holder: bool) -> None:
        states = Counter(head["state"] for head in heads if "parent" not in head)  # not the parts of a run
        for state in _ACTIVE_STATES:
            metrics.runs.labels(state).set(states[state])
        # Also in the run of a task's pipeline, whose whole is at work meanwhile.
        metrics.gates_open.set(sum(head["state"] == "waiting" for head in heads))
        queue = queue_report(heads)
        metrics.queue_depth.set(queue["queued"])
        metrics.queue_oldest.set(queue["oldest"] or 0.0)
        metrics.holder.set(holder)
        pids = {h["holder"]["pid"] for h in heads if h["holder"] is not None and processes.alive(h["holder"])}
        metrics.workers.set(len(pids))
        metrics.worker_memory.set(sum(map(_resident, pids)))
        metrics.free_bytes.set(shutil.disk_usage(self._data_dir).free)


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
