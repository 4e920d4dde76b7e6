"""Shapes of the JSON that the orchestrator answers with, one TypedDict for each kind of record.

They are the decoded JSON itself: nothing is copied or checked. A newer orchestrator may add fields.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from po_jupyter.model.run.scores import RowScores
from po_jupyter.model.values.json import JsonObject


class ReadinessJson(TypedDict, total=False):
    """GET ready: `ready` is whether runs can be started."""

    ready: bool
    orchestrator: bool
    store: str


class PriceJson(TypedDict):
    """US dollars for a million tokens."""

    input: float
    output: float


class ModelJson(TypedDict):
    """A model of the catalogue; `why` it cannot be used now, `price_note` why it has no price: "" otherwise.
    `list_price` is the vendor's, where a team's admin set another one."""

    ref: str
    provider: str
    model: str
    alias: str
    usable: bool
    why: str
    price: PriceJson | None
    price_note: str
    list_price: NotRequired[PriceJson | None]


class PipelineJson(TypedDict, total=False):
    """A registered pipeline in the list of all; `tasks` are names, `problem` is why it cannot be read."""

    name: str
    version: str
    revision: str
    updated_at: str
    tasks: list[str]
    problem: str


class ScheduleJson(TypedDict):
    """A schedule. `state` is `active` or `paused`, then with its `reason`, or why a
    slot waits; `last` is what became of its last slot, with
    the `state` of its run; times are ISO 8601 UTC. Lists have no `seed`, `budget`, `model` and `outcomes`."""

    id: str
    pipeline: str
    cron: str
    timezone: str
    missed: str
    overlap: str
    state: str
    reason: str | None
    next_at: str | None
    waiting: int
    last: JsonObject | None
    created_at: str
    seed: NotRequired[JsonObject]
    budget: NotRequired[JsonObject | None]
    model: NotRequired[str | None]
    outcomes: NotRequired[list[JsonObject]]


class TokenJson(TypedDict):
    """A scoped token, without the token itself; times are ISO 8601 UTC."""

    id: str
    name: str
    scopes: list[str]
    owner: str
    created_at: str
    expires_at: str
    expired: bool


class RowFileJson(TypedDict):
    """A file of rows that the orchestrator keeps."""

    sha256: str
    bytes: int
    rows: int


class ArtifactJson(TypedDict):
    """A file that a task wrote; `path` is on the orchestrator's machine, `task` None for a file of the seed."""

    name: str
    task: str | None
    bytes: int
    sha256: str
    path: str


class RowJson(TypedDict):
    """The outcome of one row of a map. `row` is where in the seed's list the row is, unless that is its index; `label`
    what the index of the list `of` of the seed calls it. Of the rows that an operator made: `columns` besides the
    output, and of a group the `rows` that are in it."""

    index: int
    ok: bool
    output: object
    error: JsonObject | None
    usage: JsonObject
    row: NotRequired[int]
    variant: NotRequired[str]
    of: NotRequired[str]
    label: NotRequired[Any]
    rows: NotRequired[list[Any]]
    columns: NotRequired[JsonObject]
    agreement: NotRequired[float]
    votes: NotRequired[int]
    scores: NotRequired[RowScores]
    provenance: NotRequired[ProvenanceJson | None]
    review: NotRequired[JsonObject]


class RunPipelineJson(TypedDict):
    """The pipeline of a run: its definition as it was submitted, by task those that it waits for, and the options by
    which the run differs from it."""

    pipeline: JsonObject
    needs: dict[str, list[str]]
    options: NotRequired[JsonObject]


class ProvenanceJson(TypedDict):
    """Where a row of a map is from: `prompt_hash` is of the request as it was sent, `reused_from` the row that paid."""

    index: int
    model: str | None
    prompt_hash: str | None
    asked_at: str | None
    attempt: int | None
    reused_from: str | None


class StageLogJson(TypedDict):
    """The output of one stage: `text` is its last 64 KB, `cut` whether there was more."""

    task: str | None
    stage: str
    name: str
    bytes: int
    text: str
    cut: bool


class TaskCountsJson(TypedDict):
    """Counts of a run's tasks."""

    done: int
    total: int


class DeadLetterJson(TypedDict):
    """A run that exhausted its attempts; `log` is the end of the worker's log."""

    id: str
    name: str
    pipeline: str
    version: str
    task: str | None
    stage: str | None
    attempt: int
    error: JsonObject
    log: str
    crashes: int
    died_at: str
    tasks: TaskCountsJson


class KeyJson(TypedDict):
    """The state of a provider's key, without the key; `source` None: runs get none."""

    provider: str
    variable: str
    base_url: str
    needed: bool
    source: Literal["environment", "keyring", "file"] | None
    masked: str
    stored: bool
    note: str


class FindingJson(TypedDict):
    """A finding of the doctor; `todo` is what to do about it, or ""."""

    what: str
    verdict: Literal["ok", "note", "bad"]
    found: str
    todo: str


class NodeJson(TypedDict):
    """A server of the store; see `GET workers`."""

    name: str
    host: str
    pid: int
    since: str
    version: str
    slots: int
    running: int
    labels: list[str]
    state: Literal["works", "serves", "drains"]
    silent: float


class QueueJson(TypedDict):
    """Runs that have a worker and that wait for one; `oldest` in seconds."""

    running: int
    queued: int
    priorities: dict[str, int]
    oldest: float | None


class BrokerJson(TypedDict):
    """The message broker of several nodes."""

    works: bool
    depths: dict[str, int] | None


class WorkersJson(TypedDict):
    """The nodes of the store, and what waits for them."""

    nodes: list[NodeJson]
    queue: QueueJson
    broker: BrokerJson | None


class ChannelJson(TypedDict):
    """A channel of notifications; `error` is why the last try failed, or ""."""

    name: str
    kind: Literal["webhook", "apprise"]
    receiver: str
    events: list[str]
    delivered: int
    delivered_at: str | None
    waiting: int
    next_at: str | None
    given_up: int
    given_up_at: str | None
    error: str
    error_at: str | None


class CleanedRunJson(TypedDict):
    """A run that was deleted, or would be."""

    run: str
    state: str
    name: str
    ended_at: str
    bytes: int


class CleanedCacheJson(TypedDict):
    """Cached answers that were forgotten, or would be."""

    answers: int
    bytes: int


class CleaningJson(TypedDict, total=False):
    """POST clean: the runs that went, or would go with `dry_run`; `more`: another request goes on."""

    runs: list[CleanedRunJson]
    bytes: int
    returned: int
    dry_run: bool
    cache: CleanedCacheJson
    more: bool


class ChargesJson(TypedDict, total=False):
    """Usage of a day, a model or an owner; `cost` leaves out the `unpriced` and `unknown` calls."""

    calls: int
    cached_calls: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    unpriced: int
    unknown: int


class DayJson(ChargesJson, total=False):
    """Usage of one day (UTC)."""

    day: str
    by_model: dict[str, ChargesJson]


class OwnerJson(TypedDict):
    """Usage of one owner."""

    total: ChargesJson


class StateRoomJson(TypedDict):
    """Room that the runs of one state take."""

    runs: int
    bytes: int


class RunsRoomJson(TypedDict):
    """Room that runs take, in bytes."""

    bytes: int
    states: dict[str, StateRoomJson]


class DiskJson(TypedDict, total=False):
    """Room on the disk, in bytes."""

    runs: RunsRoomJson
    store: int
    files: int
    blobs: int
    cache: int
    logs: int
    free: int | None


class HubWindowJson(TypedDict, total=False):
    """A window of the limits of a hub's gateway; `limit` is None where there is none."""

    scope: str
    window: str
    unit: str
    used: float
    reserved: float
    limit: float | None
    resets_at: str


class HubUsageJson(TypedDict):
    """A user's use of a hub's gateway; `problem` is why nothing newer is known."""

    url: str
    user: str
    groups: list[str]
    windows: list[HubWindowJson]
    problem: str


class UsageJson(TypedDict, total=False):
    """GET usage: the newest day first; `owners` for callers who see everybody's, `hub` where there is one."""

    days: list[DayJson]
    total: ChargesJson
    disk: DiskJson
    owners: dict[str, OwnerJson]
    hub: HubUsageJson
