"""What a report says: the facts of a run, its prompts, its failures and a bounded number of its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from po_jupyter.model.run.view import ENDED, RunView, TaskView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.task_kind import asks_model
from po_jupyter.presentation import format as fmt

MOST_ROWS = 200  # of a map, where nobody says otherwise
MOST_CHARACTERS = 2000  # of one value


class ReportRows(NamedTuple):
    """Rows of a map: at most so many as were asked for, in order. `total` are all that the map has; `failed` those that
    failed, however many of them are among `rows`."""

    rows: Sequence[Mapping[str, object]]
    total: int
    failed: int

    @property
    def left_out(self) -> int:
        """How many rows are not here."""
        return self.total - len(self.rows)


@dataclass(frozen=True, slots=True)
class ReportContent:
    """A run and what a report shows of it. `definition` is the pipeline as it was submitted, `options` are those of the
    run, by which it differs from it (see `RunOptions`); `rows` are of its maps,
    `failures` the first rows that failed, `outputs` those of its other tasks; `at` is seconds since 1970."""

    view: RunView
    definition: JsonObject
    at: float
    rows: Mapping[str, ReportRows] = field(default_factory=dict)
    failures: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)
    outputs: Mapping[str, object] = field(default_factory=dict)
    options: JsonObject = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The pipeline and its version."""
        return f"{self.view.pipeline} {self.view.version}"

    def facts(self) -> list[tuple[str, str]]:
        """The run in names and values."""
        view = self.view
        took = fmt.seconds_between(view.created_at, view.updated_at if view.state in ENDED else None, self.at)
        facts = [
            ("Run", view.id),
            (
                "State",
                view.state if fmt.shown_run_state(view) == view.state else f"{view.state}, every row failed",
            ),
            ("Seed", view.name),
            ("Owner", view.owner),
            ("Options", ", ".join(f"{name} {value}" for name, value in self.options.items())),
            ("Started", view.created_at),
            ("Took", fmt.elapsed(took) if took is not None else ""),
            ("Used", " · ".join(fmt.usage_parts(view.usage, view.budget.get("usd")))),
            ("Report of", datetime.fromtimestamp(self.at, UTC).isoformat(timespec="seconds")),
        ]
        return [(name, value) for name, value in facts if value]

    def tasks(self) -> list[TaskFacts]:
        """The tasks as the report's table has them."""
        models = {str(task.get("name")): self._model(task) for task in task_definitions(self.definition)}
        return [_task_facts(task, models.get(task.name, ""), self.at) for task in self.view.tasks]

    def _model(self, task: JsonObject) -> str:
        if task.get("pipeline") is not None:
            return "pipeline"
        if not asks_model(task):
            return "python"
        for llm in (self.options, task.get("llm"), self.definition.get("llm")):  # as a run takes them
            if isinstance(llm, Mapping) and llm.get("model"):
                return str(llm["model"])
        return "default model"

    def prompts(self) -> list[tuple[str, str, str]]:
        """(task, `system`, `prompt`, `embed` or `source`, text) of each task."""
        found: list[tuple[str, str, str]] = []
        for task in task_definitions(self.definition):
            for kind in ("system", "prompt", "embed", "source"):
                value = task.get(kind)
                if value is not None:
                    found.append(
                        (str(task.get("name")), kind, value if isinstance(value, str) else as_json(value))
                    )
        return found

    def problems(self) -> list[str]:
        """What went wrong, as every face says it."""
        return [
            "\n".join(filter(None, (problem.text, problem.hint, problem.traceback)))
            for problem in fmt.problems(self.view)
        ]


class TaskFacts(NamedTuple):
    """A task in a report's table, every part as text."""

    name: str
    state: str
    model: str
    rows: str
    took: str
    calls: str
    tokens: str
    cost: str


def _task_facts(task: TaskView, model: str, now: float) -> TaskFacts:
    took = fmt.seconds_between(task.started_at, task.ended_at, now)
    usage = task.usage
    counts = fmt.row_counts(task.items) if task.items is not None else ""
    return TaskFacts(
        task.name,
        task.state,
        model,
        " · ".join(filter(None, (counts, fmt.learned_threshold(task)))),
        fmt.elapsed(took) if took is not None else "",
        f"{usage.calls:,}" if usage.calls else "",
        fmt.tokens(usage.input_tokens + usage.output_tokens) if usage.calls or usage.cached_calls else "",
        fmt.money(usage.cost) if usage.calls or usage.cached_calls else "",
    )


def task_definitions(definition: JsonObject) -> list[JsonObject]:
    """The tasks of a definition as mappings."""
    return [task for task in definition.get("tasks", ()) if isinstance(task, dict)]


def as_json(value: object) -> str:
    """A value as indented JSON."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def clipped(value: object, most: int = MOST_CHARACTERS) -> str:
    """A value as text of at most `most` characters, which says how many are left out."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} characters left out)"


def row_cells(row: Mapping[str, object]) -> tuple[str, str, str, str]:
    """A row as (number, state, answer or error, cost); of a variant the number has its name, as in `po score`."""
    usage, error = row.get("usage"), row.get("error")
    cost = usage.get("cost") if isinstance(usage, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else error
    shown = row.get("output") if row.get("ok") else (message or "failed")
    money = fmt.money(float(cost)) if isinstance(cost, int | float) else ""
    number, variant = row.get("index"), row.get("variant")
    name = f"{number} ({variant})" if variant else str(number)
    return name, "done" if row.get("ok") else "failed", clipped(shown), money


def left_out_text(table: ReportRows) -> str:
    """How many rows are not shown; empty where all are."""
    if not table.left_out:
        return ""
    return f"{table.left_out:,} of {table.total:,} rows are left out. All of them: run.frame()."
