"""A state machine over `decide` and `fold`: whatever is delivered, lost, repeated or late, the promises hold.

The *log* is the store's: append-only, under a fence (P2). *Workers* hold a folded copy of some prefix of it, as
real ones do, and act on what they know; a worker that was overtaken commits with an old fence and is refused.
People cancel, decide gates, resume and restart; tasks add and skip others; messages (hints to look) come twice,
late, in any order, or never (P1).
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from po_jupyter.engine.control.apply import directive_events
from po_jupyter.engine.control.directives import read_directives
from po_jupyter.engine.state.decide import End, Start, Stop, decide
from po_jupyter.engine.state.effective_pipeline import effective_pipeline
from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.resume import gate_opened_data, restart_plan, resume_plan
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Conflict, ControlInvalid
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.view import ENDED

pytestmark = pytest.mark.integration  # thousands of steps: it takes seconds

Event = dict[str, Any]


def numbered(events: list[Event], after: int) -> list[Event]:
    return [{**e, "offset": after + i, "run": "r"} for i, e in enumerate(events, 1)]


ASKS = ["", "add", "skip", "pause"]


class Worker:
    """One worker's view: a fence, a state folded up to some offset, what it executes, and answers it paid
    for."""

    def __init__(self, fence: int, log: list[Event]) -> None:
        self.fence = fence
        self.state = fold(RunState("r"), log)
        self.running: dict[str, int] = {}  # task: attempt


class Runs(RuleBasedStateMachine):
    """One run from its creation on."""

    workers = Bundle("workers")
    hints = Bundle("hints")

    @initialize(
        shape=st.lists(
            st.tuples(st.sets(st.integers(0, 5)), st.booleans(), st.booleans(), st.sampled_from(ASKS)),
            min_size=2,
            max_size=5,
        )
    )
    def create(self, shape: list[tuple[set[int], bool, bool, str]]) -> None:
        tasks: list[dict[str, Any]] = []
        for i, (needs, chained, gated, _) in enumerate(shape):
            task: dict[str, Any] = {"name": f"t{i}", "prompt": "x"}
            if not chained:
                task["needs"] = [f"t{j}" for j in sorted(needs) if j < i]
            if gated:
                task["gate"] = "look"
            tasks.append(task)
        self.pipeline = Pipeline(name="p", tasks=tasks)
        self.asks = {f"t{i}": ask for i, (*_, ask) in enumerate(shape)}  # the same in each attempt
        self.fence = 0
        self.log: list[Event] = []
        created = [{"name": t.name, "kind": t.kind} for t in self.pipeline.tasks]
        self.append([draft("run.created", name="n", pipeline="p", version="1.0.0", tasks=created)])

    # -- the store ------------------------------------------------------------------------------
    def append(self, events: list[Event]) -> None:
        self.log += numbered(events, len(self.log))

    def truth(self) -> RunState:
        return fold(RunState("r"), self.log)

    def commit(self, worker: Worker, events: list[Event]) -> bool:
        """A worker's transaction: all of it or, with an old fence, nothing (P2). It hears what others wrote,
        too."""
        if worker.fence != self.fence:
            return False
        self.hear(worker)
        self.append(events)
        self.hear(worker)
        return True

    def hear(self, worker: Worker, upto: int | None = None) -> None:
        worker.state = fold(worker.state, self.log[:upto])

    def take(self) -> None:
        """The run is somebody else's from now on."""
        self.fence += 1

    # -- workers --------------------------------------------------------------------------------
    @rule(target=workers)
    def claim(self) -> Worker:
        """A new worker takes the run over: the old one may live on, and is stale from now on."""
        self.take()
        worker = Worker(self.fence, self.log)
        if worker.state.state not in ENDED:
            self.commit(worker, [draft("run.started", fence=self.fence)])
        return worker

    @rule(worker=consumes(workers), counted=st.booleans())
    def crash(self, worker: Worker, counted: bool) -> None:
        """It is gone, with what it had not committed. The orchestrator may record it, if the run was its
        own."""
        if counted and worker.fence == self.fence and self.truth().state not in ENDED:
            self.take()
            self.append([draft("worker.crashed", crashes=1)])

    @rule(worker=workers)
    def step(self, worker: Worker) -> None:
        """Decide on what it knows, and do that. What it says goes through the fence."""
        if worker.state.state in ENDED and not worker.running:
            return
        for command in decide(self.pipeline, worker.state, frozenset(worker.running)):
            if isinstance(command, Start):
                now = worker.state.tasks[command.task]
                assert command.attempt == (now.attempt if now.state == "running" else now.attempt + 1)
                if self.commit(worker, [draft("task.started", command.task, attempt=command.attempt)]):
                    worker.running[command.task] = command.attempt
                    self.started(command)
            elif isinstance(command, Stop):
                worker.running.pop(command.task, None)
                if worker.state.tasks.get(command.task) and worker.state.tasks[command.task].state == "running":
                    self.commit(worker, [draft("task.cancelled", command.task)])
            else:
                assert not worker.running
                self.end(worker, command)

    def started(self, start: Start) -> None:
        """P3: an attempt whose answers count is never begun a second time after it ended."""
        state = self.truth()
        ended = [
            e for e in self.log if e.get("task") == start.task and e["type"] in ("task.done", "task.failed")
        ]
        used = {e["data"]["attempt"] for e in ended}
        assert start.attempt not in used, "an attempt that has ended is not begun again"
        now = effective_pipeline(self.pipeline, state)
        for need in now.needs_of(start.task):
            assert state.tasks[need].state in ("done", "skipped")
            assert state.tasks[need].gate in (None, "approved")

    def end(self, worker: Worker, end: End) -> None:
        known = len(self.log)
        if worker.fence == self.fence and worker.state.offset < known:
            self.hear(worker)  # the store's answer to a commit tells that there is more; decide again later
            return
        if end.state == "waiting":
            if worker.state.state == "waiting":
                return
            self.commit(worker, [draft("run.waiting")])
            return
        self.commit(worker, [draft(f"run.{end.state}", error=end.error)])

    @rule(worker=workers, pick=st.integers(0, 9), fails=st.booleans())
    def finish(self, worker: Worker, pick: int, fails: bool) -> None:
        """One of its tasks is over: answer and outcome are one transaction with what the task asks of the
        run."""
        if not worker.running:
            return
        name = sorted(worker.running)[pick % len(worker.running)]
        attempt = worker.running[name]
        self.hear(worker) if worker.fence == self.fence else None
        state = worker.state
        if name not in state.tasks or state.tasks[name].state != "running":
            worker.running.pop(name)  # stopped or taken over meanwhile
            return
        usage = {"calls": 1, "input_tokens": 0, "output_tokens": 0, "cost": 0.0}
        events = [draft("call.done", name, usage=usage)]
        if fails and state.tasks[name].attempt - state.tasks[name].spent < 2:
            events.append(draft("task.retrying", name, attempt=attempt, delay=0.0, error={"code": "x"}))
        elif fails:
            events.append(draft("task.failed", name, error={"code": "x"}, attempt=attempt))
        else:
            events.append(draft("task.done", name, output=[1, 0], attempt=attempt))
            events += self.asked(worker, name)
        if self.commit(worker, events):
            assert worker.running.pop(name) == attempt

    def asked(self, worker: Worker, name: str) -> list[Event]:
        state = worker.state
        now = effective_pipeline(self.pipeline, state)
        names = [t.name for t in now.tasks]
        wanted: dict[str, Any] = {}
        control = self.asks.get(name, "")
        if control == "add":
            wanted = {"patch": {"add": [{"name": f"{name}x", "prompt": "x"}]}}
        elif control == "skip":
            wanted = {"skip": [{"task": names[-1], "reason": "r"}]}
        elif control == "pause":
            wanted = {"pause": {"message": "m"}}
        if wanted:
            others = frozenset(worker.running) - {name}
            try:
                said = directive_events(
                    self.pipeline, state, name, [("f", read_directives(wanted))], running=others
                )
            except ControlInvalid:
                said = []
            if any(e["type"] == "gate.opened" for e in said):
                return said
            gate = now.task(name).gate
            return said + ([draft("gate.opened", name, message="look")] if gate is not None else [])
        return [draft("gate.opened", name, message="look")] if now.task(name).gate is not None else []

    @rule(target=workers, count=st.integers(3, 20), fails=st.booleans())
    def work_on(self, count: int, fails: bool) -> Worker:
        """A new worker gets some way without a disturbance."""
        worker = self.claim()
        for i in range(count):
            if worker.state.state == "waiting":
                self.decide_gate(True)
                self.hear(worker)
            self.step(worker)
            self.finish(worker, i, fails and i == count - 1)
        return worker

    # -- hints: twice, late, in any order, or never -----------------------------------------------
    @rule(target=hints, worker=workers)
    def hint(self, worker: Worker) -> tuple[Worker, int]:
        return worker, len(self.log)

    @rule(hint=hints)
    def deliver(self, hint: tuple[Worker, int]) -> None:
        """P1: an old hint, or the same twice, tells nothing wrong; folding a prefix that is known changes
        nothing."""
        worker, upto = hint
        before = worker.state
        self.hear(worker, upto)
        if before.offset >= upto:
            assert worker.state == before

    # -- people -----------------------------------------------------------------------------------
    @rule(really=st.integers(0, 3))
    def cancel(self, really: int) -> None:
        if really == 3 and self.truth().state not in ENDED:
            self.append([draft("run.cancel_requested", by="me")])

    @rule(approve=st.booleans())
    def decide_gate(self, approve: bool) -> None:
        state = self.truth()
        task = next((t.name for t in state.tasks.values() if t.gate == "open"), None)
        if task is None or state.state in ENDED:
            return
        events = [draft("gate.decided", task, decision="approve" if approve else "reject", by="me")]
        if state.state == "waiting" and approve:
            events.append(draft("run.resumed", by="me"))
        self.append(events)

    @rule(pick=st.integers(0, 9), whole=st.booleans())
    def resume(self, pick: int, whole: bool) -> None:
        state = self.truth()
        now = effective_pipeline(self.pipeline, state)
        name = now.tasks[pick % len(now.tasks)].name
        try:
            todo = resume_plan(now, state, from_task=None if whole else name)
        except Conflict:
            return
        self.again(state, todo.reset, todo.clear, todo.reopen)

    @precondition(lambda self: self.truth().state in ENDED)
    @rule(pick=st.integers(0, 9), how=st.sampled_from(["all", "from", "only"]))
    def restart(self, pick: int, how: str) -> None:
        state = self.truth()
        now = effective_pipeline(self.pipeline, state)
        name = None if how == "all" else now.tasks[pick % len(now.tasks)].name
        try:
            todo = restart_plan(now, state, task=name, only=how == "only")
        except Conflict:
            return
        self.again(state, todo.reset, todo.clear, todo.reopen, only=name if how == "only" else None)

    def again(self, state: RunState, reset: Any, clear: Any, ask: Any, only: str | None = None) -> None:
        kept = {n for n, t in state.tasks.items() if t.state == "done" and n not in reset}
        gates = [draft("gate.opened", n, **gate_opened_data(state, n)) for n in ask]
        self.append([draft("run.resumed", by="me", reset=list(reset), clear=list(clear), only=only), *gates])
        after = self.truth()
        assert after.state == "pending"
        assert all(after.tasks[n].state == "done" for n in kept if n in after.tasks), (
            "P12: what is finished is kept"
        )
        assert after.usage == state.usage, "P12: what was paid for stays counted"

    # -- what always holds --------------------------------------------------------------------------
    @invariant()
    def the_fold_is_the_state(self) -> None:
        """P1, P2: the state follows from the log alone; a piecewise fold, with repetitions, is the same."""
        if not hasattr(self, "log"):
            return
        assert [e["offset"] for e in self.log] == list(range(1, len(self.log) + 1)), "P8: no gaps"
        whole = self.truth()
        half = fold(RunState("r"), self.log[: len(self.log) // 2])
        assert fold(fold(half, self.log[len(self.log) // 3 :]), self.log) == whole
        assert list(whole.tasks) == [t.name for t in effective_pipeline(self.pipeline, whole).tasks]

    @invariant()
    def deciding_again_says_the_same(self) -> None:
        """Recovery is deciding on the folded state: pure, idempotent, and never stuck."""
        if not hasattr(self, "log"):
            return
        state = self.truth()
        commands = decide(self.pipeline, state)
        assert commands == decide(effective_pipeline(self.pipeline, state), state)
        if state.state in ENDED:
            assert commands == []
        else:
            assert commands, "a run that has not ended has a next step"
        assert len([c for c in commands if isinstance(c, End)]) in (0, len(commands))

    @invariant()
    def paid_work_is_counted_and_done_tasks_have_outputs(self) -> None:
        """P3, P12: every answer in the log is in the usage exactly once; a gate's decision is never
        overwritten."""
        if not hasattr(self, "log"):
            return
        state = self.truth()
        assert state.usage.calls == sum(e["type"] == "call.done" for e in self.log)
        assert all(t.output is not None for t in state.tasks.values() if t.state == "done")
        attempts: dict[str, list[int]] = {}
        for event in self.log:
            if event["type"] == "task.started":
                attempts.setdefault(event["task"], []).append(event["data"]["attempt"])
        assert all(found == sorted(found) for found in attempts.values()), "attempts only go up"

    def teardown(self) -> None:
        """However it stands: one calm worker brings the run to an end, or to a gate."""
        if not hasattr(self, "log"):
            return
        self.take()
        worker = Worker(self.fence, self.log)
        for _ in range(300):
            if worker.state.state in ENDED:
                break
            if worker.state.state == "waiting" and not worker.running:
                self.decide_gate(True)
                self.hear(worker)
            self.step(worker)
            self.finish(worker, 0, False)
        else:
            raise AssertionError(f"the run never ends: {self.truth()}")


Runs.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestRuns = Runs.TestCase
