"""Files of cases, `po_tests.yaml` or `test_NAME.po.yaml`: each case a pipeline, a seed, and what is expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jsonpath
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from po_jupyter.errors import InvalidInput, InvalidPipeline, NotFound, Violation
from po_jupyter.model.pipeline.parsing import load_marked, parse_pipeline, validate_pipeline
from po_jupyter.model.pipeline.patterns import unusable
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.task_parts import Budget
from po_jupyter.model.pipeline.violations import did_you_mean, violations_of
from po_jupyter.model.run.contained import contained, inlined
from po_jupyter.model.run.row_index import keys_of
from po_jupyter.model.run.view import RunStatus

TIMEOUT = 120.0  # seconds of a case
_LONGEST = 200  # characters of a name
_CHECKS = (
    "equals", "contains", "not_contains", "regex", "schema", "at_least", "at_most", "equals_field", "error_contains",
)  # fmt: skip
Location = tuple[int | str, ...]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Expectation(_Part):
    """What is expected of the answers of a task: of its output, or of each row of a map (of `row`, of a `share` of
    them), there of the values at `path`. Every check that it has must hold."""

    task: str | None = None
    row: Annotated[int, Field(ge=0)] | None = None
    path: str | None = None
    score: str | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    equals: Any = None
    equals_field: str | None = None
    contains: str | list[str] | None = None
    not_contains: str | list[str] | None = None
    regex: str | None = None
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    at_least: float | None = None
    at_most: float | None = None
    error_contains: str | None = None

    @field_validator("path")
    @classmethod
    def _is_path(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                jsonpath.compile(value)
            except jsonpath.JSONPathError as error:
                raise ValueError(f"not a JSON path: {str(error).splitlines()[0]}") from None
        return value

    @field_validator("regex")
    @classmethod
    def _is_pattern(cls, value: str | None) -> str | None:
        if value is not None and (reason := unusable(value)) is not None:
            raise ValueError(f"not a regular expression: {reason}")
        return value

    @field_validator("json_schema")
    @classmethod
    def _is_schema(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            from jsonschema import Draft202012Validator, SchemaError

            try:
                Draft202012Validator.check_schema(value)
            except SchemaError as error:
                raise ValueError(f"not a JSON Schema: {error.message:.200}") from None
        return value

    @model_validator(mode="after")
    def _has_a_check(self) -> Expectation:
        names = {"json_schema": "schema"}
        found = {names.get(name, name) for name in self.model_fields_set}
        if not found & set(_CHECKS):
            raise ValueError(f"expects nothing: give it one of {', '.join(_CHECKS)}")
        if self.score is not None and (self.path is not None or not found & {"at_least", "at_most"}):
            raise ValueError("a `score` has `at_least` or `at_most`, and no `path`")
        return self


class CaseFields(_Part):
    """A case as it is written. `pipeline`: a file (beside this one), the name of one there, or the pipeline itself;
    `max_cost` (US dollars) and `max_tokens` are expected of the run, `budget` bounds it."""

    name: Annotated[str, Field(min_length=1, max_length=_LONGEST)]
    pipeline: str | dict[str, Any] | None = None
    seed: dict[str, Any] | list[Any] = Field(default_factory=dict)
    model: Annotated[str, Field(pattern=r"^[a-z0-9_-]+:\S+$")] | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    budget: Budget | Annotated[float, Field(gt=0)] | None = None
    max_cost: Annotated[float, Field(ge=0)] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    timeout: Annotated[float, Field(gt=0, le=3600)] | None = None
    state: RunStatus = "done"
    expect: list[Expectation] = Field(default_factory=list)


class FileFields(_Part):
    """A file of cases; what stands above them is meant for each that does not say otherwise."""

    pipeline: str | dict[str, Any] | None = None
    model: Annotated[str, Field(pattern=r"^[a-z0-9_-]+:\S+$")] | None = None
    budget: Budget | Annotated[float, Field(gt=0)] | None = None
    timeout: Annotated[float, Field(gt=0, le=3600)] | None = None
    cases: Annotated[list[CaseFields], Field(min_length=1)]


class PromptCase(NamedTuple):
    """One case to run. `line` is where it stands in `file`, `lines` where its expectations do."""

    file: Path
    line: int
    fields: CaseFields
    pipeline: Pipeline
    model: str | None
    budget: Budget | float | None
    timeout: float
    lines: tuple[int, ...]

    @property
    def name(self) -> str:
        """Unique in its file."""
        return self.fields.name


def read_cases(file: Path) -> list[PromptCase]:
    """The cases of a file. Raises InvalidInput whose violations have their lines."""
    try:
        text = file.read_text("utf-8-sig")
    except FileNotFoundError:
        raise InvalidInput(f"there is no file {file}") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8 text: byte {error.start}", hint="Save it as UTF-8.") from None
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from None
    try:
        value, marks = load_marked(text)
    except InvalidPipeline as error:
        raise _invalid(file, error.violations or [Violation("", error.message)]) from None
    if value is None:
        hint = (
            "cases:\n  - name: greets\n    pipeline: hello.yaml\n    expect: [{task: hello, contains: Hello}]"
        )
        raise InvalidInput(f"{file} is empty: it has no cases", hint=f"For example:\n{hint}")

    def position(loc: Location) -> tuple[int | None, int | None]:
        while loc and loc not in marks:
            loc = loc[:-1]
        return marks.get(loc, (None, None))

    try:
        fields = FileFields.model_validate(value)
    except ValidationError as error:
        violations = violations_of(error, known=_known, position=position)
        raise _invalid(file, sorted(violations, key=lambda v: v.line or 0)) from None
    return _cases(file, fields, lambda *loc: position(loc)[0] or 1)


def _cases(file: Path, fields: FileFields, line: Callable[..., int]) -> list[PromptCase]:
    cases: list[PromptCase] = []
    violations: list[Violation] = []
    first: dict[str, int] = {}
    for i, case in enumerate(fields.cases):
        at = line("cases", i)
        if case.name in first:
            message = f"a case of the name {case.name!r:.80} stands in line {first[case.name]} already"
            violations.append(Violation(f"cases[{i}].name", message, line("cases", i, "name")))
        first.setdefault(case.name, at)
        source = case.pipeline if case.pipeline is not None else fields.pipeline
        place = ("cases", i, "pipeline") if case.pipeline is not None else ("pipeline",)
        try:
            pipeline = _pipeline(file, source)
            violations += _task_violations(case, pipeline, i, line)
        except InvalidInput as error:
            reason = "; ".join(map(str, error.violations)) if error.violations else ""
            message = (
                f"{error.message}{': ' if reason else ''}{reason}" if error.message not in reason else reason
            )
            violations.append(Violation(f"cases[{i}].pipeline", message, line(*place) if source else at))
            continue
        cases.append(
            PromptCase(
                file, at, case, pipeline, case.model or fields.model, case.budget or fields.budget,
                case.timeout or fields.timeout or TIMEOUT,
                tuple(line("cases", i, "expect", n) for n in range(len(case.expect))),
            )
        )  # fmt: skip
    if violations:
        raise _invalid(file, sorted(violations, key=lambda v: v.line or 0))
    return cases


def _pipeline(file: Path, source: str | dict[str, Any] | None) -> Pipeline:
    """The pipeline of a case. Raises InvalidInput."""
    if source is None:
        raise InvalidInput("a case needs a `pipeline`, its own or that of the file")
    if isinstance(source, dict):
        pipeline = validate_pipeline({"name": "tested", **source})
    else:
        pipeline = _read_pipeline(_file_of(file.parent, source))

    def beside(name: str) -> Pipeline:
        try:
            return _read_pipeline(_file_of(file.parent, name))
        except InvalidPipeline:
            raise
        except InvalidInput as error:
            raise NotFound(error.message) from None

    pipeline = inlined(pipeline, beside)
    for task in (task for each in pipelines_of(pipeline) for task in each.tasks):
        if task.mode == "batch":
            raise InvalidInput(
                f"task {task.name!r:.80} is for a batch, whose answers take hours and are not recorded: "
                "test it without `mode: batch`"
            )
    return pipeline


def pipelines_of(pipeline: Pipeline) -> list[Pipeline]:
    """A pipeline, and those that its tasks run."""
    return [pipeline, *(inner for _, inner in contained(pipeline))]


def _read_pipeline(path: Path) -> Pipeline:
    try:
        return parse_pipeline(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from None


def _file_of(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.yaml", folder / f"{name}.yml", folder / f"{name}.json"):
        if path.is_file():
            return path
    names = [name for path in sorted(folder.glob("*.y*ml")) for name in (path.stem, path.name)]
    raise InvalidInput(f"there is no pipeline {name!r:.100} beside the file{did_you_mean(name, names)}")


def _task_violations(case: CaseFields, pipeline: Pipeline, i: int, line: Callable[..., int]) -> list[Violation]:
    tasks = [task.name for task in pipeline.tasks]
    found: list[Violation] = []
    for n, expectation in enumerate(case.expect):
        where, at = f"cases[{i}].expect[{n}]", line("cases", i, "expect", n)
        if expectation.task is None and len(tasks) > 1:
            found.append(Violation(where, f"which task? the pipeline has {', '.join(tasks)}", at))
        elif expectation.task is not None and expectation.task not in tasks:
            guess = did_you_mean(expectation.task, tasks)
            found.append(Violation(where, f"the pipeline has no task {expectation.task!r:.80}{guess}", at))
    return found


def _known(loc: Location) -> tuple[list[str], str]:
    fields: tuple[type[BaseModel], str] = (FileFields, "a file of cases")
    if len(loc) == 2:
        fields = CaseFields, "a case"
    elif "expect" in loc:
        fields = Expectation, "an expectation"
    elif loc:
        fields = Budget, "budget"
    return [info.alias or name for name, info in fields[0].model_fields.items()], fields[1]


def _invalid(file: Path, violations: list[Violation]) -> InvalidInput:
    return InvalidInput(f"{file} cannot be run:", violations=violations)


def seed_row(case: PromptCase, path: str | None, place: int) -> Mapping[str, Any]:
    """Row `place` of the list `path` of the seed (see `row_index.row_path`); {} for none, and one without fields."""
    data = case.fields.seed
    value: Any = {"rows": data} if isinstance(data, list) else data
    for key in keys_of(path) if path is not None else ():
        value = value.get(key) if isinstance(value, Mapping) else None
    row = value[place] if isinstance(value, list) and 0 <= place < len(value) else {}
    return row if isinstance(row, Mapping) else {}
