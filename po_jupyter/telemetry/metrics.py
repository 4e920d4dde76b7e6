"""The metrics of one orchestrator for Prometheus: their names, labels and buckets, in a registry of their own.

Names follow Prometheus's guide ("Metric and label naming"): base units, `_total` for counters. Labels are bounded:
a model beyond the first `MAX_MODELS` is counted as `other`; no run, owner, task or pipeline is ever a label.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

MAX_MODELS = 50
_MOST_NAME = 200  # characters of a model's name
OTHER = "other"
_RUN_ENDS = ("done", "failed", "cancelled", "dead", "moved")
_TASK_ENDS = ("done", "failed", "skipped", "cancelled")
_ROW_ENDS = ("done", "failed", "reused")
_CALL_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)  # s
_STORE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)  # s
_LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)  # s


class Metrics:
    """The instruments. Counters start at zero with the process; all times are seconds."""

    def __init__(self) -> None:
        """Everything is zero."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"po_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"po_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"po_{name}_seconds", text, labels, buckets=buckets, registry=registry)

        # what is now
        self.runs = gauge("runs", "Runs in the store that have not ended", "state")
        self.gates_open = gauge("gates_open", "Runs that wait for a person")
        self.queue_depth = gauge("queue_depth", "Runs that wait for a worker")
        self.queue_oldest = gauge("queue_oldest_seconds", "Seconds that the oldest of them has waited")
        self.workers = gauge("workers", "Worker processes of this machine that hold a run")
        self.worker_memory = gauge(
            "worker_resident_memory_bytes", "Resident memory of these processes together"
        )
        self.holder = gauge("holds_store", "1 where this server has the workers of the store, else 0")
        self.nodes = gauge(
            "nodes", "Servers of the store that work runs off, only serve, or give theirs away", "state"
        )
        self.free_bytes = gauge("data_free_bytes", "Free room on the disk of the data directory")
        # what happened
        self.runs_ended = counter("runs_ended", "Runs that ended", "state")
        self.tasks = counter("tasks", "Tasks that ended", "state")
        self.rows = counter("rows", "Rows of maps with an outcome", "state")
        self.calls = counter("calls", "Calls to models that ended", "model", "outcome")
        self.tokens = counter("tokens", "Tokens of answered calls", "model", "kind")
        self.cost = counter("cost_usd", "US dollars of answered calls with a known price", "model")
        self.unpriced = counter("calls_without_price", "Answered calls whose price nobody knows", "model")
        self.retries = counter("retries", "Tries that came to nothing and are followed by another", "of")
        self.waits = counter("waits", "Times that a task began to wait: limits, batches, the store")
        self.unknown = counter("unknown_calls", "Calls that were sent and whose answer was lost")
        self.crashes = counter("worker_crashes", "Workers that ended in the middle of a run")
        # how long it takes
        self.call_seconds = histogram(
            "call", "From sending to the last byte of an answer, without batches", _CALL_BUCKETS, "model"
        )
        self.store_seconds = histogram(
            "store_read", "A small read of the store (its newest run), once a scrape", _STORE_BUCKETS
        )
        self.loop_lag = histogram(
            "loop_lag", "How much too late a timer of the server's loop came", _LAG_BUCKETS
        )
        self._models: set[str] = set()
        # An alert sees the first of a kind only where the series was there before, at zero.
        for counted, labels in (
            (self.runs_ended, _RUN_ENDS),
            (self.tasks, _TASK_ENDS),
            (self.rows, _ROW_ENDS),
            (self.retries, ("task", "call")),
        ):
            for label in labels:
                counted.labels(label)

    def model(self, name: str) -> str:
        """The label of a model: its name, or `OTHER` when there are too many. A vendor's answer may call it anything:
        what is no UTF-8 could be written to nobody, and is a question mark."""
        name = name[:_MOST_NAME].encode("utf-8", "replace").decode()
        if name in self._models:
            return name
        if len(self._models) >= MAX_MODELS or not name:
            return OTHER
        self._models.add(name)
        return name

    def text(self) -> bytes:
        """All of them in Prometheus's text format."""
        return bytes(generate_latest(self.registry))
