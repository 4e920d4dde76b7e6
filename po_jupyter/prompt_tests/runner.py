"""The runner of cases: one private orchestrator for all of them, started with the first, one run for each."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from po_jupyter.client.run import Run
from po_jupyter.errors import PoError
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.scores import RowScores
from po_jupyter.prompt_tests.cases import PromptCase, pipelines_of, seed_row
from po_jupyter.prompt_tests.exchange_server import ExchangeServer
from po_jupyter.prompt_tests.expectations import AnswerRow, failures_of
from po_jupyter.prompt_tests.private_orchestrator import (
    PrivateOrchestrator,
    check_models,
    user_environment,
    vendors,
)
from po_jupyter.prompt_tests.recordings import RecordedAnswer, read_recordings, write_recordings
from po_jupyter.telemetry.redaction import Redactor, secrets_of


class CaseResult(NamedTuple):
    """What became of a case: each failure with the line of the file that expects otherwise."""

    case: PromptCase
    failures: tuple[tuple[int, str], ...]
    seconds: float
    cost: float | None
    tokens: int

    @property
    def passed(self) -> bool:
        """Whether all is as expected."""
        return not self.failures


class PromptTests:
    """Runs cases, one after the other. `live` asks the models and keeps what they answer; else nobody is asked."""

    def __init__(
        self, cases: Sequence[PromptCase], *, live: bool = False, environ: Mapping[str, str] | None = None
    ) -> None:
        """Checks what can be checked before anything is started. Raises InvalidInput."""
        self._cases, self._live = cases, live
        self._environ = dict(os.environ if environ is None else environ)
        self._models = {ref for case in cases for ref in models_of(case)}
        check_models(self._models)
        self._answers: dict[Path, list[RecordedAnswer]] = {}
        if not live:
            for file in {case.file for case in cases}:
                self._answers[file] = read_recordings(file)
        self._exchanges: ExchangeServer | None = None
        self._orchestrator: PrivateOrchestrator | None = None

    def __enter__(self) -> Self:
        """Itself; the orchestrator is started with the first case."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what was started."""
        self.close()

    def close(self) -> None:
        """Stop what was started."""
        if self._orchestrator is not None:
            self._orchestrator.close()
        if self._exchanges is not None:
            self._exchanges.close()
        self._orchestrator = self._exchanges = None

    def _started(self) -> tuple[PrivateOrchestrator, ExchangeServer]:
        if self._orchestrator is None or self._exchanges is None:
            environ = user_environment(self._environ) if self._live else self._environ
            self._exchanges = ExchangeServer(
                vendors(environ), live=self._live, redactor=Redactor(secrets_of(environ))
            )
            self._orchestrator = PrivateOrchestrator(
                self._exchanges.url, self._models, live=self._live, environ=environ
            )
        return self._orchestrator, self._exchanges

    def run_all(self) -> Iterator[CaseResult]:
        """The result of each case, in order, as it comes."""
        for case in self._cases:
            yield self.run(case)

    def run(self, case: PromptCase) -> CaseResult:
        """Run one case. Raises Unavailable where no orchestrator can be started."""
        orchestrator, exchanges = self._started()
        answers = self._answers.get(case.file, [])
        exchanges.begin(case.name, [answer for answer in answers if answer["case"] == case.name])
        began = time.monotonic()
        run: Run | None = None
        failures: list[tuple[int, str]] = []
        try:
            run = orchestrator.client.submit(
                case.pipeline, case.fields.seed, model=case.model, budget=case.budget, limit=case.fields.limit,
                fresh=True,
            )  # fmt: skip
            run.wait(case.timeout)
            failures = list(_failures(case, run))
        except TimeoutError:
            failures = [(case.line, self._give_up(case, run))]
        except PoError as error:
            failures = [(case.line, f"the run was refused: {error}")]
        recorded, missing = exchanges.end()
        if missing:
            failures = [(case.line, _missing_message(case, missing))]
        if self._live:
            self._record(case, recorded)
        usage = run.usage if run is not None else None
        return CaseResult(
            case, tuple(failures), time.monotonic() - began,
            usage.cost if usage is not None else None,
            usage.input_tokens + usage.output_tokens if usage is not None else 0,
        )  # fmt: skip

    def _give_up(self, case: PromptCase, run: Run | None) -> str:
        state = "not started"
        if run is not None:
            view = run.refresh()
            gate = (view.gate or {}).get("task")
            state = f"{view.state} at the gate of {gate}" if gate else view.state
            run.cancel()
        return f"the run was not done within {case.timeout:g} s: it is {state}"

    def _record(self, case: PromptCase, recorded: list[RecordedAnswer]) -> None:
        """Replace the recorded answers of this case; those of others stay."""
        names = {other.name for other in self._cases if other.file == case.file}
        try:
            before = read_recordings(case.file)
        except PoError:  # changed by hand, or of another version: what is asked now is what counts
            before = []
        others = [answer for answer in before if answer["case"] != case.name]
        order = {name: place for place, name in enumerate(sorted(names))}
        merged = sorted([*others, *recorded], key=lambda a: (order.get(a["case"], -1), a["case"], a["request"]))
        write_recordings(case.file, merged)


def models_of(case: PromptCase) -> set[str]:
    """The models that a case names."""
    if case.model is not None:
        return {case.model}
    return {ref for each in pipelines_of(case.pipeline) for part in _settings_of(each) for ref in _refs(part)}


def _settings_of(pipeline: Pipeline) -> Iterator[Any]:
    yield pipeline.llm
    for task in pipeline.tasks:
        yield task.llm


def _refs(settings: Any) -> Iterator[str]:
    """Model refs anywhere in the model settings of a pipeline or a task, one model or several."""
    value = settings.model_dump(mode="json") if hasattr(settings, "model_dump") else settings
    for part in value if isinstance(value, list | tuple) else (value,):
        part = part.model_dump(mode="json") if hasattr(part, "model_dump") else part
        if isinstance(part, dict):
            if isinstance(part.get("model"), str):
                yield part["model"]
            for nested in part.values():
                if isinstance(nested, list | tuple):
                    yield from _refs(nested)


def _failures(case: PromptCase, run: Run) -> Iterator[tuple[int, str]]:
    """What of a run that ended is not as expected."""
    view, fields = run.refresh(), case.fields
    if view.state != fields.state:
        yield case.line, f"the run is {view.state}, expected {fields.state}" + _reason(run)
        return
    usage = view.usage
    if fields.max_cost is not None:
        if usage.cost is None:
            yield case.line, "the cost of the run is not known: no price list has its model"
        elif usage.cost > fields.max_cost:
            yield case.line, f"the run cost ${usage.cost:.6f}, expected at most ${fields.max_cost:g}"
    tokens = usage.input_tokens + usage.output_tokens
    if fields.max_tokens is not None and tokens > fields.max_tokens:
        yield case.line, f"the run used {tokens:,} tokens, expected at most {fields.max_tokens:,}"
    for line, expectation in zip(case.lines, fields.expect, strict=True):
        task = expectation.task or case.pipeline.tasks[0].name
        for failure in failures_of(expectation, task, _rows(case, run, task)):
            yield line, failure


def _reason(run: Run) -> str:
    error = run.error
    return f": {error}" if error is not None else ""


def _rows(case: PromptCase, run: Run, task: str) -> list[AnswerRow]:
    view = next((t for t in run.view.tasks if t.name == task), None)
    if view is not None and view.items is not None:
        path = _seed_list(run, task)
        return [
            AnswerRow(
                row["index"], row["ok"], row["output"], str((row["error"] or {}).get("message") or ""),
                _scores(row.get("scores")), seed_row(case, path, row.get("row", row["index"])),
            )
            for row in run.items(task)
        ]  # fmt: skip
    error = str(((view.error if view is not None else None) or {}).get("message") or "")
    done = view is not None and view.state == "done"
    output = run.outputs[task] if done else None
    scores = _scores(_last(run, "task.done", task).get("scores"))
    return [AnswerRow(None, done, output, error or "the task did not run", scores, {})]


def _seed_list(run: Run, task: str) -> str | None:
    """The list of the seed whose rows those of a map are; None where they are of none."""
    path: str | None = _last(run, "map.started", task).get("of")
    return path


def _last(run: Run, event_type: str, task: str) -> Mapping[str, Any]:
    """What the last event of that type says of a task; {} where there is none."""
    found = [e["data"] for e in run.events() if e["type"] == event_type and e.get("task") == task]
    return found[-1] if found else {}


def _scores(scores: RowScores | None) -> Mapping[str, float | None]:
    return scores["values"] if scores is not None else {}


def _missing_message(case: PromptCase, missing: Sequence[str]) -> str:
    models = ", ".join(sorted(set(missing)))
    calls = f"{len(missing)} call{'' if len(missing) == 1 else 's'}"
    return (
        f"no answer is recorded for {calls} to {models}: the case is new, or asks something else now. "
        f"Record: po test {case.file} --live -k {_quoted(case.name)}"
    )


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "'\\''") + "'"
