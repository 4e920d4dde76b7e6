"""Control by a task (B11): what its directives mean for the run as it is now, and `ctx.control`.

They are applied in the transaction of the task's own `task.done`, so a crash leaves the run before both or
after both. An invalid directive fails the task, once: another attempt would say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from po_jupyter.engine.control.directives import (
    MAX_ADDED,
    Directives,
    Skip,
    invalid,
    parse_directives,
    read_directives,
    read_task,
)
from po_jupyter.engine.state.effective_pipeline import effective
from po_jupyter.engine.state.fold import fold, place
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import ControlInvalid, InvalidInput, Violation
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.events import EventDraft, draft

if TYPE_CHECKING:
    from po_jupyter.engine.run.session import Work

FILE = "control.json"
Problems = Callable[[Pipeline, frozenset[str]], list[Violation]]


def directed(
    pipeline: Pipeline,
    state: RunState,
    by: str,
    wanted: Iterable[tuple[str, Directives]],
    *,
    running: frozenset[str] = frozenset(),
    problems: Problems = lambda pipeline, added: [],
) -> list[EventDraft]:
    """The events that the directives of task `by` are, applied one after the other to the run in `state`.

    `wanted` are (where they were said, what). `problems(pipeline, added)` finds what else is wrong; only what
    it finds in added tasks counts. Raises ControlInvalid with everything that is wrong in the first of them
    that is.
    """
    events: list[EventDraft] = []
    paused: tuple[list[str], list[str]] | None = None
    for source, directives in wanted:
        for event in _one(pipeline, state, by, source, directives, running, problems):
            events.append(event)
            state = fold(state, [{**event, "offset": state.offset + 1}])
        if directives.pause is not None:
            messages, artifacts = paused or ([], [])
            messages.append(directives.pause.message)
            artifacts += [a for a in directives.pause.artifacts if a not in artifacts]
            paused = messages, artifacts
    if paused is not None:  # one gate, whatever said so
        events.append(draft("gate.opened", by, message="\n".join(paused[0]), artifacts=paused[1]))
    return events


def _one(
    pipeline: Pipeline,
    state: RunState,
    by: str,
    source: str,
    directives: Directives,
    running: frozenset[str],
    problems: Problems,
) -> list[EventDraft]:
    now = effective(pipeline, state)
    names = [task.name for task in now.tasks]
    found: list[Violation] = []
    events: list[EventDraft] = []
    if directives.patch is not None:
        after = directives.patch.after
        if after is not None and after != by and (problem := _not_later(state, names, by, after, running)):
            found.append(Violation("patch.insertAfter", problem))
        added = _added(now, state, directives.patch.add, found)
        if added and not found:
            found += _fit(now, state, after or by, added, problems)
        if added and not found:
            definitions = [task.model_dump(mode="json", exclude_defaults=True) for task in added]
            events.append(draft("tasks.added", by, tasks=definitions, after=after or by))
    seen: set[str] = set()
    for i, skip in enumerate(directives.skip):
        problem = _not_later(state, names, by, skip.task, running)
        if problem is None and skip.task in seen:
            problem = f"{skip.task!r} is skipped twice"
        seen.add(skip.task)
        if problem is not None:
            found.append(Violation(f"skip[{i}].task", problem))
        else:
            events.append(draft("task.skipped", skip.task, reason=skip.reason, by=by))
    if found:
        raise invalid(source, found)
    return events


def _not_later(
    state: RunState, names: Sequence[str], by: str, name: str, running: frozenset[str]
) -> str | None:
    """Why `name` is not a later task that has not started; None when it is."""
    if name not in names:
        return f"there is no task {name!r}{did_you_mean(name, list(names))}"
    if name == by:
        return f"{name!r} is the task that says so; only later ones can be meant"
    if names.index(name) < names.index(by):
        return f"{name!r} comes before {by!r}; only later tasks can be meant"
    task = state.tasks[name]
    if task.state != "pending":
        return f"{name!r} is {task.state} already; only pending tasks can be meant"
    if name in running or task.attempt > task.spent:
        return f"{name!r} has started already; only pending tasks can be meant"
    return None


def _added(
    now: Pipeline, state: RunState, definitions: Sequence[Mapping[str, Any]], found: list[Violation]
) -> list[Task]:
    known = {task.name: task for task in now.tasks}
    added: list[Task] = []
    room = MAX_ADDED - len(state.added)
    if len(definitions) > room:
        found.append(
            Violation(
                "patch.add",
                f"{len(definitions)} more tasks would make {len(state.added) + len(definitions)} added ones; "
                f"a run may add {MAX_ADDED}",
            )
        )
    for i, definition in enumerate(definitions):
        where = f"patch.add[{i}]"
        task, wrong = read_task(dict(definition), where)
        found += wrong
        if task is None:
            continue
        if task.name in known:
            found.append(Violation(f"{where}.name", f"there is a task {task.name!r} already; names are unique"))
            continue
        task = _with_code(task, known)
        known[task.name] = task
        added.append(task)
    return added


def _with_code(task: Task, known: Mapping[str, Task]) -> Task:
    """An added task that names a task of the run as its code has the code of that task."""
    if task.kind == "python" and task.source is None:
        model = known.get(task.task or task.name)
        if model is not None and model.source is not None:
            return task.model_copy(update={"source": model.source, "task": None})
        if model is not None and model.task is not None:
            return task.model_copy(update={"task": model.task})
    return task


def _fit(
    now: Pipeline, state: RunState, after: str, added: Sequence[Task], problems: Problems
) -> list[Violation]:
    """What is wrong with the pipeline that these tasks would make: needs that are none, circles, templates."""
    tasks = {task.name: task for task in (*now.tasks, *added)}
    order = place([t.name for t in now.tasks], state.added, after, [t.name for t in added])
    fields = {name: getattr(now, name) for name in type(now).model_fields}
    try:
        changed = Pipeline(**{**fields, "tasks": tuple(tasks[name] for name in order)})
    except ValidationError as error:
        return [Violation("patch.add", e["msg"].removeprefix("Value error, ")) for e in error.errors()]
    places = {f"tasks[{order.index(task.name)}]": f"patch.add[{i}]" for i, task in enumerate(added)}
    found = []
    for violation in problems(changed, frozenset(t.name for t in added)):
        head, _, rest = violation.where.partition(".")
        if head in places:
            found.append(
                violation._replace(where=places[head] + (f".{rest}" if rest else ""), line=None, column=None)
            )
    return found


class Collected:
    """What the stages of one attempt have asked for so far. A stage that runs again takes its words back."""

    def __init__(self, work: Work, task: Task) -> None:
        self._work = work
        self._task = task
        self._said: dict[str, list[tuple[str, Directives]]] = {}
        self._broken: ControlInvalid | None = None
        self._lock = Lock()  # sync stages run in threads

    def begin(self, stage: str) -> None:
        """The stage starts (again)."""
        with self._lock:
            self._said.pop(stage, None)

    def take(self, stage: str, source: str, data: Mapping[str, Any]) -> None:
        """Keep one more, if the run as it is now allows it. Raises ControlInvalid, and the task fails with it
        even if its code goes on."""
        try:
            directives = read_directives(data, source=source)
            with self._lock:
                events(self._work, self._task, [*self._all(), (source, directives)])
                self._said.setdefault(stage, []).append((source, directives))
        except ControlInvalid as error:
            self._broken = error
            raise

    def _all(self) -> list[tuple[str, Directives]]:
        return [said for stage in self._said.values() for said in stage]

    def finish(self) -> list[tuple[str, Directives]]:
        """Everything that was asked for. Raises ControlInvalid when something of it could not be."""
        if self._broken is not None:
            raise self._broken
        return self._all()


class Takes(Protocol):
    """Who hears what `ctx.control` says."""

    def take(self, stage: str, source: str, data: Mapping[str, Any]) -> None:
        """One directive of a stage. Raises ControlInvalid."""


class Rehearsal:
    """For a task that is tried without a run: the shape of its directives is checked, and nothing is done."""

    def take(self, stage: str, source: str, data: Mapping[str, Any]) -> None:
        """As `Collected.take`, with no run to fit."""
        read_directives(data, source=source)


class Control:
    """`ctx.control`: a task adds tasks, skips later ones, or asks for a decision. Applied when the task is
    done."""

    __slots__ = ("_collected", "_stage")

    def __init__(self, collected: Takes | None, stage: str) -> None:
        self._collected = collected
        self._stage = stage

    def add(self, tasks: Any, after: str | None = None) -> None:
        """Add one task or several, defined as in a pipeline (a name, a mapping, a `Task`), behind this task or
        behind a later pending one. A Python task may name another task of the run as its code: `{"name":
        "again", "task": "analysis"}`. Raises ControlInvalid."""
        several = list(tasks) if isinstance(tasks, list | tuple) else [tasks]
        self._say(
            "ctx.control.add", {"patch": {"add": several, **({} if after is None else {"insertAfter": after})}}
        )

    def skip(self, task: str, reason: str) -> None:
        """Skip a later task that has not started; it counts as finished, without an output. Raises
        ControlInvalid."""
        self._say("ctx.control.skip", {"skip": [{"task": task, "reason": reason}]})

    def pause(self, message: str, artifacts: Sequence[str] = ()) -> None:
        """Open a gate after this task; `artifacts` are named to whoever decides. Raises ControlInvalid."""
        self._say("ctx.control.pause", {"pause": {"message": message, "artifacts": list(artifacts)}})

    def _say(self, source: str, data: Mapping[str, Any]) -> None:
        if self._collected is None:
            raise InvalidInput(
                "a row of a map cannot direct the run: its neighbours may be done already",
                hint="Do it in a task after the map, or write control.json once.",
            )
        self._collected.take(self._stage, source, data)


def file_of(run_dir: Path, task: str) -> Path:
    """Where a task leaves its `control.json`: in its own directory, `ctx.io.task_dir`."""
    return run_dir / f"tmp/{task}/{FILE}"


def drop_file(path: Path) -> None:
    """Remove what an earlier attempt left there."""
    path.unlink(missing_ok=True)


def read_file(path: Path) -> list[tuple[str, Directives]]:
    """What the file says; [] when there is none. Raises ControlInvalid. Blocks on the disk."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise invalid(FILE, [Violation("", f"it cannot be read: {error.strerror or error}")]) from None
    return [(FILE, parse_directives(data))]


def events(work: Work, task: Task, wanted: Sequence[tuple[str, Directives]]) -> list[EventDraft]:
    """`directed` for the run in the hands of a worker. Raises ControlInvalid."""
    from po_jupyter.engine.planning.check import violations
    from po_jupyter.engine.python.python_task import findable

    def problems(pipeline: Pipeline, added: frozenset[str]) -> list[Violation]:
        found = violations(pipeline, work.seed, default_model=work.settings.default_model, prices=work.prices)
        for i, each in enumerate(pipeline.tasks):
            if each.name in added and (problem := findable(each)) is not None:
                found.append(Violation(f"tasks[{i}]", problem))
        return found

    if not wanted:
        return []
    running = frozenset(work.running) - {task.name}
    return directed(work.definition_pipeline, work.state, task.name, wanted, running=running, problems=problems)


def names_in(drafts: Iterable[EventDraft]) -> frozenset[str]:
    """Tasks that must not start until these events are in the log."""
    return frozenset(e["task"] for e in drafts if e["type"] == "task.skipped")


__all__ = ["FILE", "Collected", "Control", "Skip", "directed", "events", "file_of", "names_in", "read_file"]
