"""`fold` and `decide` as properties: whatever crashes, is told twice or comes late, the run ends the same."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from po_jupyter.engine.state.decide import End, Start, Stop, decide, goes_on
from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.run.view import ENDED


@st.composite
def pipelines(pick: Any) -> Pipeline:
    count = pick(st.integers(1, 7))
    tasks: list[dict[str, Any]] = []
    for i in range(count):
        task: dict[str, Any] = {"name": f"t{i}", "prompt": "x"}
        if pick(st.booleans()):
            task["needs"] = [f"t{j}" for j in range(i) if pick(st.booleans())]
        if pick(st.integers(0, 4)) == 0:
            task["gate"] = "look"
        tasks.append(task)
    return Pipeline(name="p", tasks=tasks)


class World:
    """A log, and a worker that can be lost at any moment. Execution is a table of what each task does."""

    def __init__(self, pipeline: Pipeline, seed: int, fails: frozenset[str]) -> None:
        self.pipeline = pipeline
        self.random = random.Random(seed)
        self.fails = fails
        self.log: list[dict[str, Any]] = []
        self.say(
            draft(
                "run.created",
                name="n",
                pipeline="p",
                version="1.0.0",
                tasks=[{"name": t.name, "kind": "prompt"} for t in pipeline.tasks],
            )
        )
        self.executed: list[str] = []

    def say(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.log.append({**event, "offset": len(self.log) + 1, "run": "r"})

    def state(self) -> RunState:
        return fold(RunState("r"), self.log)

    def finish(self, name: str) -> None:
        task = self.pipeline.task(name)
        usage = Usage(calls=1).to_json()
        self.executed.append(name)
        if name in self.fails:
            self.say(draft("call.done", name, usage=usage), draft("task.failed", name, error={"code": "x"}))
        else:
            events = [draft("call.done", name, usage=usage), draft("task.done", name, output=[1, 0])]
            if task.gate is not None:
                events.append(draft("gate.opened", name, message="look"))
            self.say(*events)

    def work(self, crash_after: int | None) -> str:
        """One worker, until the run leaves it or it crashes after so many steps."""
        running: set[str] = set()
        steps = 0
        self.say(draft("run.started"))
        while True:
            state = self.state()
            for command in decide(self.pipeline, state, frozenset(running)):
                if isinstance(command, Start):
                    assert all(
                        state.tasks[n].state in ("done", "skipped")
                        for n in self.pipeline.needs_of(command.task)
                    )
                    assert command.task not in running
                    running.add(command.task)
                    self.say(draft("task.started", command.task, attempt=command.attempt))
                elif isinstance(command, Stop):
                    running.discard(command.task)
                else:
                    assert not running
                    if command.state == "waiting":
                        self.say(draft("run.waiting"))
                    else:
                        self.say(draft(f"run.{command.state}", error=command.error))
                    return command.state
            if crash_after is not None and steps >= crash_after:
                return "crashed"
            steps += 1
            if running:
                name = self.random.choice(sorted(running))
                running.discard(name)
                self.finish(name)

    def drive(self, crashes: list[int]) -> str:
        crashes = list(crashes)
        for _ in range(100):
            left = self.work(crashes.pop() if crashes else None)
            if left == "crashed":
                self.say(draft("worker.crashed", crashes=1))
            elif left == "waiting":
                gate = next(t.name for t in self.state().tasks.values() if t.gate == "open")
                self.say(draft("gate.decided", gate, decision="approve"), draft("run.resumed"))
            else:
                return left
        raise AssertionError("the run never ends")


@settings(max_examples=150, deadline=None)
@given(pipelines(), st.integers(), st.lists(st.integers(0, 4), max_size=6), st.data())
def test_crashes_change_nothing_but_the_way(
    pipeline: Pipeline, seed: int, crashes: list[int], data: Any
) -> None:
    """P1, DESIGN 3: recovery is calling `decide` again on the folded state."""
    names = [t.name for t in pipeline.tasks]
    fails = frozenset(data.draw(st.sets(st.sampled_from(names), max_size=2)))
    calm, rough = World(pipeline, seed, fails), World(pipeline, seed + 1, fails)
    assert calm.drive([]) == rough.drive(crashes) == ("failed" if _reached(pipeline, fails) else "done")
    ends = [{n: t.state for n, t in w.state().tasks.items()} for w in (calm, rough)]
    assert ends[0] == ends[1]
    assert len(set(rough.executed)) == len(rough.executed), "a finished task is not executed again"
    assert rough.state().usage.calls == len(rough.executed)
    assert all(t.attempt <= 1 for t in rough.state().tasks.values()), "a crash keeps the attempt"


def _reached(pipeline: Pipeline, fails: frozenset[str]) -> bool:
    return any(not (pipeline.upstream_of(name) & fails) for name in fails)


@settings(max_examples=100, deadline=None)
@given(pipelines(), st.integers(), st.lists(st.integers(0, 30), max_size=8))
def test_fold_is_the_same_in_pieces_and_with_duplicates(pipeline: Pipeline, seed: int, cuts: list[int]) -> None:
    """P8: a reader that starts anywhere, or hears twice, ends with the same state."""
    world = World(pipeline, seed, frozenset())
    world.drive([2])
    whole = world.state()
    state = RunState("r")
    at = 0
    for cut in sorted(cuts):
        before = replace(state, tasks=dict(state.tasks))
        folded = fold(state, world.log[max(0, at - 3) : cut])
        assert state == before, "fold changes nothing in place"
        state, at = folded, max(at, cut)
    assert fold(fold(state, world.log[at:]), world.log) == whole


@settings(max_examples=100, deadline=None)
@given(pipelines(), st.integers(), st.integers(0, 40))
def test_a_cancellation_at_any_moment_ends_the_run(pipeline: Pipeline, seed: int, at: int) -> None:
    world = World(pipeline, seed, frozenset())
    world.drive([])
    world.log = world.log[: max(1, at)]
    if world.state().state in ENDED or world.state().state == "waiting":
        return
    done = {n for n, t in world.state().tasks.items() if t.state == "done"}
    world.say(draft("run.cancel_requested"))
    assert world.work(None) == "cancelled"
    state = world.state()
    assert state.state == "cancelled"
    assert {n for n, t in state.tasks.items() if t.state == "done"} >= done
    assert decide(pipeline, state) == []


@settings(max_examples=60, deadline=None)
@given(pipelines(), st.integers(), st.data())
def test_a_resume_runs_what_was_reset_and_what_follows(pipeline: Pipeline, seed: int, data: Any) -> None:
    names = [t.name for t in pipeline.tasks]
    first = data.draw(st.sampled_from(names))
    world = World(pipeline, seed, frozenset())
    world.drive([])
    reset = [first, *(n for n in names if first in pipeline.upstream_of(n))]
    world.say(draft("run.resumed", reset=reset))
    world.executed.clear()
    assert world.drive([1]) == "done"
    assert sorted(world.executed) == sorted(reset)
    assert all(world.state().tasks[n].attempt == (2 if n in reset else 1) for n in names)
    assert all(world.state().tasks[n].spent == (1 if n in reset else 0) for n in names)


def test_the_end_says_why() -> None:
    world = World(Pipeline(name="p", tasks=[{"name": "a", "prompt": "x"}]), 1, frozenset({"a"}))
    assert world.drive([]) == "failed"
    assert world.state().error == {"code": "x"}
    assert [type(c) for c in decide(world.pipeline, world.state())] == []
    assert End("done").state == "done"


STATES = st.sampled_from(["pending", "running", "done", "done", "done", "failed", "skipped", "cancelled"])


@given(pipelines(), st.data())
def test_a_run_that_goes_on_for_sure_does_not_end(pipeline: Pipeline, data: Any) -> None:
    """`goes_on` saves the state that a task's end makes, where `decide` would only say that the run goes on."""
    state = fold(
        RunState("r"),
        [{**draft("run.created", name="n", pipeline="p", version="1.0.0",
                  tasks=[{"name": t.name, "kind": "prompt"} for t in pipeline.tasks]), "offset": 1}],
    )  # fmt: skip
    done = data.draw(st.sampled_from([t.name for t in pipeline.tasks]))
    for name, task in state.tasks.items():
        task.state = "running" if name == done else data.draw(STATES)
        task.gate = data.draw(st.sampled_from([None, None, None, "open", "approved", "rejected"]))
    state.only = data.draw(st.sampled_from([None, None, done]))
    state.cancel_requested = data.draw(st.sampled_from([False, False, True]))
    if goes_on(pipeline, state, done):
        after = fold(state, [{**draft("task.done", done, output=0, seconds=0.0), "offset": 2}])
        assert any(isinstance(command, Start) for command in decide(pipeline, after))
