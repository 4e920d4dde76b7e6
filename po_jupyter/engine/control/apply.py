"""Applying directives to a run: they become events, checked against the run as it is now.

Pure. The events are committed in the transaction of the task's own `task.done`, so a crash leaves the run before
both or after both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from pydantic import ValidationError

from po_jupyter.engine.control.directives import MAX_ADDED, Directives, invalid_directives, read_task
from po_jupyter.engine.state.added_tasks import insert_after
from po_jupyter.engine.state.effective_pipeline import effective_pipeline
from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Violation
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.model.values.json import JsonValue

# Finds what is wrong with a pipeline, given the names of the tasks that were added to it.
Problems = Callable[[Pipeline, frozenset[str]], list[Violation]]
SourcedDirectives = tuple[str, Directives]  # the source, for messages, and the directives


def directive_events(
    pipeline: Pipeline,
    state: RunState,
    by: str,
    directives: Iterable[SourcedDirectives],
    *,
    running: frozenset[str] = frozenset(),
    problems: Problems = lambda pipeline, added: [],
) -> list[EventDraft]:
    """The events of the directives of task `by`, applied one after the other to the run in `state`.

    `directives` are pairs of their source (for messages) and themselves. `problems(pipeline, added)` finds what else
    is wrong; only what it finds in added tasks counts. Raises ControlInvalid with everything that
    is wrong in the first of them that is.
    """
    events: list[EventDraft] = []
    paused: tuple[list[str], list[str]] | None = None
    for source, directive in directives:
        for event in _events_of(pipeline, state, by, source, directive, running, problems):
            events.append(event)
            state = fold(state, [{**event, "offset": state.offset + 1}])
        if directive.pause is not None:
            messages, artifacts = paused or ([], [])
            messages.append(directive.pause.message)
            artifacts += [a for a in directive.pause.artifacts if a not in artifacts]
            paused = messages, artifacts
    if paused is not None:  # one gate for all of them
        events.append(draft("gate.opened", by, message="\n".join(paused[0]), artifacts=paused[1]))
    return events


def _events_of(
    pipeline: Pipeline,
    state: RunState,
    by: str,
    source: str,
    directives: Directives,
    running: frozenset[str],
    problems: Problems,
) -> list[EventDraft]:
    current = effective_pipeline(pipeline, state)
    names = [task.name for task in current.tasks]
    violations: list[Violation] = []
    events: list[EventDraft] = []
    if directives.patch is not None:
        after = directives.patch.after
        if (
            after is not None
            and after != by
            and (problem := _not_later_problem(state, names, by, after, running))
        ):
            violations.append(Violation("patch.insertAfter", problem))
        added = _read_added(current, state, directives.patch.add, violations)
        if added and not violations:
            violations += _pipeline_violations(current, state, after or by, added, problems)
        if added and not violations:
            definitions = [task.model_dump(mode="json", exclude_defaults=True) for task in added]
            events.append(draft("tasks.added", by, tasks=definitions, after=after or by))
    skipped: set[str] = set()
    for i, skip in enumerate(directives.skip):
        problem = _not_later_problem(state, names, by, skip.task, running)
        if problem is None and skip.task in skipped:
            problem = f"{skip.task!r} is skipped twice"
        skipped.add(skip.task)
        if problem is not None:
            violations.append(Violation(f"skip[{i}].task", problem))
        else:
            events.append(draft("task.skipped", skip.task, reason=skip.reason, by=by))
    if violations:
        raise invalid_directives(source, violations)
    return events


def _not_later_problem(
    state: RunState, names: Sequence[str], by: str, name: str, running: frozenset[str]
) -> str | None:
    """The reason why `name` is no later task that has not started; None when it is one."""
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


def _read_added(
    current: Pipeline,
    state: RunState,
    definitions: Sequence[Mapping[str, JsonValue]],
    violations: list[Violation],
) -> list[Task]:
    tasks = {task.name: task for task in current.tasks}
    added: list[Task] = []
    room = MAX_ADDED - len(state.added)
    if len(definitions) > room:
        violations.append(
            Violation(
                "patch.add",
                f"{len(definitions)} more tasks would make {len(state.added) + len(definitions)} added ones; "
                f"a run may add {MAX_ADDED}",
            )
        )
    for i, definition in enumerate(definitions):
        path = f"patch.add[{i}]"
        task, wrong = read_task(dict(definition), path)
        violations += wrong
        if task is None:
            continue
        if task.name in tasks:
            violations.append(
                Violation(f"{path}.name", f"there is a task {task.name!r} already; names are unique")
            )
            continue
        if task.kind == "pipeline":
            violations.append(
                Violation(f"{path}.pipeline", "a task that is added while a run works cannot run a pipeline")
            )
            continue
        task = _with_code(task, tasks)
        tasks[task.name] = task
        added.append(task)
    return added


def _with_code(task: Task, tasks: Mapping[str, Task]) -> Task:
    """An added task that names a task of the run as its code has the code of that task."""
    if task.kind == "python" and task.source is None:
        model = tasks.get(task.task or task.name)
        if model is not None and model.source is not None:
            return task.model_copy(update={"source": model.source, "task": None})
        if model is not None and model.task is not None:
            return task.model_copy(update={"task": model.task})
    return task


def _pipeline_violations(
    current: Pipeline, state: RunState, after: str, added: Sequence[Task], problems: Problems
) -> list[Violation]:
    """The violations of the pipeline that these tasks would make: unknown needs, circles, templates."""
    tasks = {task.name: task for task in (*current.tasks, *added)}
    order = insert_after([t.name for t in current.tasks], state.added, after, [t.name for t in added])
    fields = {name: getattr(current, name) for name in type(current).model_fields}
    try:
        changed = Pipeline(**{**fields, "tasks": tuple(tasks[name] for name in order)})
    except ValidationError as error:
        return [Violation("patch.add", e["msg"].removeprefix("Value error, ")) for e in error.errors()]
    names = {f"tasks[{order.index(task.name)}]": f"patch.add[{i}]" for i, task in enumerate(added)}
    violations = []
    for violation in problems(changed, frozenset(t.name for t in added)):
        head, _, rest = violation.where.partition(".")
        if head in names:
            violations.append(
                violation._replace(where=names[head] + (f".{rest}" if rest else ""), line=None, column=None)
            )
    return violations


def skipped_tasks(events: Iterable[EventDraft]) -> frozenset[str]:
    """Tasks that these events skip: they must not start until the events are in the log."""
    return frozenset(e["task"] for e in events if e["type"] == "task.skipped")
