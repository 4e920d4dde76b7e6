"""Queries and bodies of the routes. A field that a body does not have is an error; a query may have more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from po_jupyter.model.editing.completion import MAX_TEXT
from po_jupyter.model.pipeline.violations import did_you_mean, without_most_unknown
from po_jupyter.model.run.definition import MAX_LABELS
from po_jupyter.model.run.view import ENDED, RunStatus
from po_jupyter.model.values.json import JsonObject
from po_jupyter.server.auth import SCOPES
from po_jupyter.server.routing.inspection import CallStateName, RowSortName, RowStateName


class Query(BaseModel):
    """A query without fields of its own; `?token=`, `?no_track_activity=` and cache busters are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_unknown(cls, value: Any) -> Any:
        return without_most_unknown(value, cls.model_fields) if isinstance(value, Mapping) else value


def _states(value: Any) -> Any:
    states = [part.strip() for part in str(value).split(",") if part.strip()]
    statuses = get_args(RunStatus)
    for state in states:
        if state not in statuses:
            raise ValueError(
                f"{state!r} is not a state{did_you_mean(state, statuses)}; states: {', '.join(statuses)}"
            )
    return tuple(states)


States = Annotated[tuple[str, ...], BeforeValidator(_states)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Cursor = Annotated[str | None, Field(max_length=200)]
Offset = Annotated[int, Field(ge=0, lt=2**53)]
RowIndexes = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2**31, strict=True)], ...], Field(min_length=1, max_length=10_000)
]


def _time(value: Any) -> Any:
    """A date, or a date and time, as runs have it: ISO 8601 in UTC; without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(str(value).strip())
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{value!r:.60} is no date: write 2026-11-22, or 2026-11-22T12:00:00+01:00 (UTC without a zone)"
        ) from None
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[str, BeforeValidator(_time)]


class ListRuns(Query):
    """`state` is a list with commas; `q` a part of the id, or of the name of the pipeline or the run; runs made from
    `since` to before `until`; with `brief` no seeds; with `children` also the child runs of maps with `shards`."""

    state: States = ()
    pipeline: str | None = None
    q: Annotated[str, Field(max_length=200)] = ""
    since: Time | None = None
    until: Time | None = None
    brief: bool = False
    children: bool = False
    cursor: Cursor = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class RunQuery(Query):
    """With `brief` without the data of a large seed."""

    brief: bool = False


def _ended(value: Any) -> Any:
    states = _states(value)
    for state in states:
        if state not in ENDED:
            raise ValueError(f"{state!r} has not ended; ended are: {', '.join(sorted(ENDED))}")
    return states


class ExportQuery(Query):
    """`state` is a list with commas of ended states; all of them without it."""

    state: Annotated[tuple[str, ...], BeforeValidator(_ended)] = ()
    pipeline: str | None = None


class AuditQuery(Query):
    """A page of the audit log."""

    cursor: Cursor = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class ModelsQuery(Query):
    """`word` is a part of a model's name."""

    word: Annotated[str, Field(max_length=200)] | None = None
    provider: Annotated[str, Field(max_length=200)] | None = None


class UsageQuery(Query):
    """The last `days` days (UTC), today among them."""

    days: Annotated[int, Field(ge=1, le=3660)] = 30


class OutputsQuery(Query):
    """One task's output, or all."""

    task: Name | None = None


class ItemsQuery(Query):
    """Rows of one map."""

    task: Name
    state: Literal["done", "failed"] | None = None
    cursor: Cursor = None
    limit: Annotated[int, Field(ge=1, le=5000)] = 1000
    result: bool = False


class RowsQuery(Query):
    """Rows of a map from place `start` of those that match, sorted; `q` is a part of input, output or error; of a map
    with variants those of one `variant`."""

    start: Annotated[int, Field(ge=0, lt=2**31)] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    state: RowStateName | None = None
    sort: RowSortName = "index"
    desc: bool = False
    q: Annotated[str, Field(max_length=200)] = ""
    variant: Name | None = None


class CompareQuery(Query):
    """The map `task` of this run and of the run `with`; `show` is `changed`, or `all` with those that changed first;
    `gold` is a field of the rows, or `corrections`."""

    other: Annotated[str, Field(min_length=1, max_length=100, alias="with")]
    task: Name
    show: Literal["changed", "all"] = "changed"
    gold: Name | None = None
    start: Annotated[int, Field(ge=0, lt=2**31)] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class ModelCallsQuery(Query):
    """Calls from place `start` of those of a task, of a row, in a state."""

    task: Name | None = None
    row: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    state: CallStateName | None = None
    start: Annotated[int, Field(ge=0, lt=2**31)] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class ProvenanceQuery(Query):
    """The rows of one map, or one of them."""

    task: Name
    row: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class VariantsQuery(Query):
    """The variants of one map."""

    task: Name


class CallsQuery(Query):
    """Calls of a run, or of one of its tasks."""

    task: Name | None = None
    state: Literal["done", "failed", "answered", "withdrawn", "in_flight", "unknown"] | None = None
    cursor: Cursor = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


class LogsQuery(Query):
    """Logs of a run, of one of its tasks, or of one stage."""

    task: Name | None = None
    stage: Name | None = None


class EventsQuery(Query):
    """`since` is exclusive; `limit` is for answers in JSON."""

    since: Offset = 0
    limit: Annotated[int, Field(ge=1, le=5000)] = 1000


class RunOptionsBody(_Body):
    """`limit` rows of each map; `fresh` uses no earlier answer; `cache` is false (keep none either) or "refresh";
    `skip_validation` starts a run although a key or the like that it needs is missing; `model` is in the place of all
    that are named; `labels` are what a node must have that works the run off."""

    limit: Annotated[int, Field(ge=1)] | None = None
    fresh: bool = False
    cache: Literal[False, "refresh"] | None = None
    skip_validation: bool = False
    model: Annotated[str, Field(max_length=300)] | None = None
    labels: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=MAX_LABELS)] = []


class SubmitBody(_Body):
    """Pipeline and seed are checked by the orchestrator, which knows more than their shape."""

    pipeline: Any = None
    seed: Any
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] | None = None
    budget: JsonObject | None = None
    interpreter: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    cwd: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    options: RunOptionsBody | None = None


class ScheduleBody(_Body):
    """A registered `pipeline` and a `cron` expression of five fields in a `timezone`. `seed` is `{data: {...}}`, or
    `{files: PATH, only_new}` or `{sql: QUERY, db: env:NAME, new_by: COLUMN}`, read at each
    slot. `missed` says what is made up for when nobody was up, `overlap` what
    happens while the run before goes on."""

    pipeline: Name
    cron: Annotated[str, Field(min_length=1, max_length=200)]
    timezone: Annotated[str, Field(min_length=1, max_length=100)] = "UTC"
    seed: JsonObject = {"data": {}}
    budget: JsonObject | None = None
    model: Annotated[str, Field(max_length=300)] | None = None
    interpreter: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    cwd: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    missed: Literal["skip", "last", "all"] = "last"
    overlap: Literal["skip", "queue"] = "skip"


class SchedulePatch(_Body):
    """The fields of a schedule that change; `paused` pauses it, or lets it go on with its next slot."""

    pipeline: Name | None = None
    cron: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    timezone: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    seed: JsonObject | None = None
    budget: JsonObject | None = None
    model: Annotated[str, Field(max_length=300)] | None = None
    interpreter: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    cwd: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    missed: Literal["skip", "last", "all"] | None = None
    overlap: Literal["skip", "queue"] | None = None
    paused: bool | None = None


class EstimateBody(_Body):
    """What POST runs takes, as far as it matters for the cost."""

    pipeline: Any = None
    seed: Any
    budget: JsonObject | None = None
    options: RunOptionsBody | None = None


class ValidateBody(_Body):
    """What POST runs takes, of which nothing is started. `name` is the pipeline's where its text has none, `model` the
    one in the place of all that it names, `budget` the run's. `analysis`: say what each task does and leaves too."""

    pipeline: Any
    seed: Any = None
    name: Annotated[str, Field(max_length=100)] | None = None
    model: Annotated[str, Field(max_length=300)] | None = None
    budget: Any = None
    analysis: bool = False


class CursorBody(_Body):
    """A pipeline's YAML, before and behind the cursor; `name` is the pipeline's where its text has none."""

    before: Annotated[str, Field(max_length=MAX_TEXT)]
    after: Annotated[str, Field(max_length=MAX_TEXT)] = ""
    name: Annotated[str, Field(max_length=100)] | None = None


class DefinitionBody(BaseModel):
    """A pipeline's definition; its own reader checks it."""

    model_config = ConfigDict(extra="allow")


class EmptyBody(_Body):
    """Nothing."""


class ResumeBody(_Body):
    """All optional: what failed, everything from a task on, only failed rows, or only these `rows` (at most 10,000,
    by map); of those ones that are done only with `include_done`. With a larger budget."""

    from_task: Name | None = None
    only_failed: bool = False
    rows: Annotated[dict[Name, RowIndexes], Field(min_length=1, max_length=100)] | None = None
    include_done: bool = False
    budget: JsonObject | None = None


class RestartBody(_Body):
    """Nothing: all of the run anew; `task`: from there on, or with `only` that one."""

    task: Name | None = None
    only: bool = False
    clear_usage: bool = False


class ForkBody(_Body):
    """`from_task` and what follows run anew, with another seed (an envelope, as in POST runs) or pipeline if
    given. The same `idempotency_key` gives the same fork."""

    from_task: Name
    seed: Any = None
    pipeline: Any = None
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class RequeueBody(_Body):
    """Where to go on; by default where the run died."""

    from_task: Name | None = None


class DeadQuery(Query):
    """A page of dead letters."""

    cursor: Cursor = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class GateBody(_Body):
    """A decision, which is final. `task` names the task whose gate is meant: it is refused when the open gate is
    another one's."""

    decision: Literal["approve", "reject"]
    note: Annotated[str, Field(max_length=10_000)] = ""
    task: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class CleanBody(_Body):
    """`older_than` is in days; without it retention's settings count. `states` to delete, by default `done`.
    `cache`: not runs, but the cached answers of models."""

    dry_run: bool = False
    older_than: Annotated[float, Field(ge=0, le=36_500)] | None = None
    states: tuple[Literal["done", "failed", "cancelled", "dead", "moved"], ...] = ()
    cache: bool = False


class KeyBody(_Body):
    """A key: it is kept, and never answered, logged or audited."""

    key: SecretStr


def _scope(value: Any) -> Any:
    if not isinstance(value, str) or value not in SCOPES:
        raise ValueError(
            f"{value!r:.40} is not a scope{did_you_mean(str(value), list(SCOPES))}; scopes: {', '.join(SCOPES)}"
        )
    return value


class TokenBody(_Body):
    """What a new token may do, and for how many seconds; `name` tells people what it is for."""

    scopes: Annotated[tuple[Annotated[str, BeforeValidator(_scope)], ...], Field(min_length=1, max_length=20)]
    expires: Annotated[float, Field(ge=60, le=366 * 86_400)] = 30 * 86_400
    name: Annotated[str, Field(max_length=100)] = ""


class DoctorQuery(Query):
    """With `online` each configured provider is asked for its list of models, for 5 s at most."""

    online: bool = False
