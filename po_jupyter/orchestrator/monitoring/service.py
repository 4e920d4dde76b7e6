"""Monitoring: the metrics of `GET metrics`. Until the first request for them nothing is counted and nothing costs.

Counters are read from the logs (`log_counters`), so they are as true as the runs, whoever worked them off and however
often workers died. A scrape is bounded: what it does not get to, the next one counts.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import psutil

from po_jupyter.model.run.events import now
from po_jupyter.orchestrator.dispatch.protocol import Dispatcher
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.monitoring.log_counters import LogCounters
from po_jupyter.orchestrator.monitoring.loop_lag import LoopLag
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.platform import processes
from po_jupyter.store.protocol import Head, Store
from po_jupyter.telemetry.metrics import Metrics

_MOST_RECORDS = 20_000  # that one scrape counts
_MOST_CHANGED = 100_000  # runs that wait to be counted
_ACTIVE_STATES = ("pending", "running", "waiting")


class Monitoring:
    """The metrics of one orchestrator."""

    def __init__(
        self, store: Store, changes: ChangeFeed, dispatcher: Dispatcher, to_thread: ToThread, data_dir: Path
    ) -> None:
        """Nothing is counted before the first `metrics`."""
        self._store = store
        self._changes = changes
        self._dispatcher = dispatcher
        self._to_thread = to_thread
        self._data_dir = data_dir
        self._changed: OrderedDict[str, None] = OrderedDict()
        self._lock = asyncio.Lock()
        self._metrics: Metrics | None = None
        self._counters: LogCounters | None = None
        self._since = ""
        self._lag: LoopLag | None = None

    async def metrics(self) -> bytes:
        """All metrics in Prometheus's text format. Raises StoreError."""
        async with self._lock:
            if self._metrics is None or self._counters is None:
                await self._begin()
            assert self._metrics is not None
            changed, self._changed = self._changed, OrderedDict()
            load = self._dispatcher.load()
            left = await self._to_thread(self._count, changed, self._dispatcher.is_holder, load["queued"])
            for run in left:
                self._changed.setdefault(run)
            return await self._to_thread(self._metrics.text)

    async def probe(self) -> None:
        """Read and write the store, by the threads that serve everybody: a full disk is read from all the same.
        Raises StoreError."""
        await self._to_thread(self._store.runs, limit=1)
        await self._to_thread(self._store.put, "probe", socket.gethostname(), now())

    async def close(self) -> None:
        """Count no more."""
        self._changes.remove_listener(self._note)
        if self._lag is not None:
            await self._lag.close()

    async def _begin(self) -> None:
        metrics = Metrics()
        counters = LogCounters(self._store, metrics)
        self._changes.add_listener(self._note)
        self._since = await self._to_thread(counters.begin)
        self._lag = LoopLag(metrics.loop_lag.observe)
        self._lag.start()
        self._metrics, self._counters = metrics, counters

    def _note(self, run: str) -> None:
        if len(self._changed) < _MOST_CHANGED:
            self._changed[run] = None

    def _count(self, changed: Iterable[str], holder: bool, queued: int | None) -> list[str]:
        """Count what is new in the logs of these runs, and look at what is now; runs that were not got to. Blocks."""
        assert self._metrics is not None and self._counters is not None
        budget, left = _MOST_RECORDS, []
        for run in changed:
            if budget > 0:
                counted = self._counters.count(run, budget, since=self._since)
                budget -= counted
            if budget <= 0:
                left.append(run)
        began = time.perf_counter()
        heads = self._store.active()
        self._metrics.store_seconds.observe(time.perf_counter() - began)
        self._look(self._metrics, heads, holder, queued)
        return left

    def _look(self, metrics: Metrics, heads: list[Head], holder: bool, queued: int | None) -> None:
        states = Counter(head["state"] for head in heads)
        for state in _ACTIVE_STATES:
            metrics.runs.labels(state).set(states[state])
        metrics.gates_open.set(states["waiting"])
        waiting = [h for h in heads if h["state"] == "pending"]
        metrics.queue_depth.set(queued if queued is not None else len(waiting))
        metrics.queue_oldest.set(max((_age(h["updated_at"]) for h in waiting), default=0.0))
        metrics.holder.set(holder)
        pids = {h["holder"]["pid"] for h in heads if h["holder"] is not None and processes.alive(h["holder"])}
        metrics.workers.set(len(pids))
        metrics.worker_memory.set(sum(map(_resident, pids)))
        metrics.free_bytes.set(shutil.disk_usage(self._data_dir).free)


def _age(at: str) -> float:
    """Seconds since an ISO time; 0 for one that cannot be read."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())
    except ValueError:
        return 0.0


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
