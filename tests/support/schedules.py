"""Schedules over a store in memory with a clock that a test moves, for the tests of their parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from po_jupyter.config import Settings
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.environment.preflight import Preflight
from po_jupyter.orchestrator.schedules.records import (
    ScheduleRecord,
    ScheduleRights,
    ScheduleStore,
    SlotOutcome,
    iso,
    key_of,
)
from po_jupyter.orchestrator.schedules.runner import SlotReport, SlotRunner
from po_jupyter.orchestrator.schedules.seed_files import SeedFiles
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.orchestrator.submission.planner import RunPlanner
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit, Head, Store

OWNER = "local"
START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday
GREET = {"name": "greet", "tasks": [{"name": "say", "prompt": "Hello {{ seed.who }}", "llm": "fake:echo"}]}
ROWS = {
    "name": "rows",
    "tasks": [{"name": "say", "for_each": "{{ seed.rows }}", "prompt": "{{ item.text }}", "llm": "fake:echo"}],
}
CODE = {"name": "code", "tasks": [{"name": "say", "source": "def ingestion(ctx):\n    return 1\n"}]}
RIGHTS: ScheduleRights = {"code_allowed": True, "token": None, "expires_at": None}


def record_of(now: datetime = START, **more: Any) -> ScheduleRecord:
    """A schedule of every hour, from now on."""
    return cast("ScheduleRecord", {
        "id": "s1", "owner": OWNER, "pipeline": "greet", "cron": "0 * * * *", "timezone": "UTC",
        "seed": {"data": {"who": "you"}}, "budget": None, "model": None, "interpreter": None, "cwd": None,
        "missed": "last", "overlap": "skip", "rights": RIGHTS, "created_at": iso(now), "updated_at": iso(now),
        "paused": None, "position": iso(now), "waiting": [], "outcomes": [], "last_run": None, **more,
    })  # fmt: skip


def settings_of(tmp: Path, **more: Any) -> Settings:
    """Of a project in `tmp/project`."""
    (tmp / "project" / "pipelines").mkdir(parents=True, exist_ok=True)
    return Settings(data_dir=tmp / "data", pipelines_dir=tmp / "project" / "pipelines", **more)


def planner_of(settings: Settings, store: Store) -> RunPlanner:
    preflight = Preflight(settings, KeyStore(settings.data_dir), lambda: True)
    return RunPlanner(settings, PipelineRegistry(store), RowFiles(settings.data_dir), preflight)


class Clockwork:
    """Schedules over a store, settled by hand. `now` is the time."""

    def __init__(self, tmp: Path, store: Store | None = None, **settings: Any) -> None:
        self.settings = settings_of(tmp, **settings)
        self.project = tmp / "project"
        self.now = START
        self.store = MemoryStore() if store is None else store
        self.registry = PipelineRegistry(self.store)
        for pipeline in (GREET, ROWS, CODE):
            self.registry.put(validate_pipeline(pipeline), OWNER)
        self.schedules = ScheduleStore(self.store)
        self.planner = planner_of(self.settings, self.store)
        self.runner = self.another_runner()

    def another_runner(self) -> SlotRunner:
        """As another process has it."""
        return SlotRunner(
            self.store, ScheduleStore(self.store), self.registry, self.planner, SeedFiles(self.settings)
        )

    def add(self, **more: Any) -> str:
        """A schedule of every hour; its key."""
        record = record_of(self.now, **more)
        self.schedules.add(record)
        return key_of(OWNER, record["id"])

    def look(self, key: str = "local/s1", **passed: float) -> SlotReport:
        """What is settled after so much time."""
        self.now += timedelta(**passed)
        report = self.runner.advance(key, self.now)
        assert report is not None
        return report

    def record(self, key: str = "local/s1") -> ScheduleRecord:
        record = self.schedules.read(key)
        assert record is not None
        return record

    def outcomes(self, key: str = "local/s1") -> list[SlotOutcome]:
        return self.record(key)["outcomes"]

    def told(self, key: str = "local/s1") -> list[tuple[str, str]]:
        """(slot without its date's year, outcome) of each."""
        return [(outcome["slot"][5:16], outcome["outcome"]) for outcome in self.outcomes(key)]

    def runs(self) -> list[Head]:
        return self.store.runs(limit=1000).heads

    def end(self, run: str) -> None:
        """The run is done."""
        self.store.commit(self.store.claim(run, {"pid": 1}), Commit(state="done", release=True))

    def end_all(self) -> None:
        for head in self.store.active():
            self.end(head["run"])
