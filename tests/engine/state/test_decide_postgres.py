"""The properties of `decide` and `fold` over a store in PostgreSQL: the log, and the fence, are the database's."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import StaleFence
from po_jupyter.platform import processes
from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.store.protocol import Commit, Lease, NewRun
from tests.engine.state import test_decide
from tests.engine.state.test_decide_machine import Event, Runs, Worker, numbered
from tests.support.postgres import postgres_server

pytestmark = pytest.mark.integration


class StoredLog:
    """The log of one run, in the store."""

    store: ClassVar[PostgresStore]

    def __init__(self) -> None:
        self.run = uuid.uuid4().hex[:20]
        self.events: list[Event] = []

    def append(self, events: list[Event], lease: Lease | None = None) -> None:
        """Write, and read what is there now. StaleFence."""
        state = fold(RunState("r"), self.events + numbered(events, len(self.events))).state
        store = self.store
        if not self.events:
            definition = {"pipeline": {"name": "p"}, "seed": {}}
            store.create_run(NewRun(self.run, "me", "p", "1.0.0", "n", 0, definition, events))
        elif lease is None:
            store.request(self.run, events, state)
        else:
            store.commit(lease, Commit(events=events, payloads=[1], state=state))
        new = store.events(self.run, since=len(self.events), limit=1000)
        self.events = self.events + [{**event, "run": "r"} for event in new]
        assert store.head(self.run)["state"] == fold(RunState("r"), self.events).state

    def take(self) -> int:
        """The new fence."""
        return self.store.claim(self.run, processes.myself()).fence


class StoredRuns(Runs):
    """The state machine, whose store is a real one."""

    @property
    def log(self) -> list[Event]:
        return self._stored.events

    @log.setter
    def log(self, empty: list[Event]) -> None:
        assert not empty
        self._stored = StoredLog()

    def append(self, events: list[Event]) -> None:
        self._stored.append(events)

    def commit(self, worker: Worker, events: list[Event]) -> bool:
        lease = Lease(self._stored.run, worker.fence)
        try:
            self._stored.append(events, lease)
        except StaleFence:
            assert worker.fence != self.fence
            return False
        assert worker.fence == self.fence, "a late writer got through"
        self.hear(worker)
        return True

    def take(self) -> None:
        self.fence = self._stored.take()


class StoredWorld(test_decide.World):
    """The world of `test_decide`, whose log is in the store; what a test cuts off goes on in its hands."""

    stored: StoredLog | None = None

    def say(self, *events: Event) -> None:
        if self.stored is None:
            self.stored = StoredLog()
        if len(self.log) != len(self.stored.events):
            super().say(*events)
            return
        self.stored.append(list(events))
        self.log = self.stored.events


@pytest.fixture(scope="module", autouse=True)
def store() -> Iterator[None]:
    with postgres_server() as server:
        StoredLog.store = PostgresStore(server.url())
        yield
        StoredLog.store.close()


@pytest.mark.timeout(110)
@pytest.mark.parametrize("examples", [5, pytest.param(150, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_whatever_comes_the_promises_hold(examples: int) -> None:
    """P1, P2, P3, P8, P12."""
    run_state_machine_as_test(
        StoredRuns,
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None, database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [
        "test_crashes_change_nothing_but_the_way", "test_fold_is_the_same_in_pieces_and_with_duplicates",
        "test_a_cancellation_at_any_moment_ends_the_run", "test_a_resume_runs_what_was_reset_and_what_follows",
    ],
)  # fmt: skip
def test_the_properties_of_decide_hold_over_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """P1, P8."""
    monkeypatch.setattr(test_decide, "World", StoredWorld)
    prove: Any = getattr(test_decide, name)
    prove()
