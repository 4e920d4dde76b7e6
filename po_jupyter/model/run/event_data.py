"""The `data` of each type of event, as one TypedDict: `RunCreatedData` is that of `run.created`, and so on.

Only the type checker reads them. A field that is NotRequired is written by some of the emitters only, or is missing
in logs of older versions. Times are seconds; `usage` is JSON as `Usage.to_json` has it, `error` as `PoError.to_json`.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from po_jupyter.model.pipeline.votes import VoteCount
from po_jupyter.model.run.operator_counts import OperatorCounts
from po_jupyter.model.run.review import ItemReviewedData as ItemReviewedData
from po_jupyter.model.run.scores import RowScores
from po_jupyter.model.run.shard_record import GateBelow, ShardPlan
from po_jupyter.model.values.json import JsonObject

# -- runs -----------------------------------------------------------------------------------------------


class TaskNameAndKind(TypedDict):
    """One task of `run.created`."""

    name: str
    kind: Literal["prompt", "embed", "python", "operator", "pipeline"]


class ForkOrigin(TypedDict):
    """The run and task that a fork starts from."""

    run: str
    from_task: str


class ShardOrigin(TypedDict):
    """The run and the map that a child run is a part of, and its number among those of the map."""

    run: str
    task: str
    shard: int


class RunCreatedData(TypedDict):
    """`budget`: `{usd?, tokens?, tasks?}`; `request`: the id of the HTTP request; `trace`: its W3C trace context; `by`:
    the person who started it, where the owner is a group."""

    name: str
    pipeline: str
    version: str
    tasks: list[TaskNameAndKind]
    owner: NotRequired[str]
    budget: NotRequired[JsonObject]
    request: NotRequired[str | None]
    trace: NotRequired[str]
    by: NotRequired[str]
    forked_from: NotRequired[ForkOrigin]
    parent: NotRequired[ShardOrigin]


class RunStartedData(TypedDict):
    """A worker claimed the run: its process, its fence and the version of the package."""

    pid: NotRequired[int]
    fence: NotRequired[int]
    worker: NotRequired[str]


class RunWaitingData(TypedDict):
    """A gate is open and nothing else can run. `task_name`: the task of the gate."""

    task_name: NotRequired[str | None]


class RunEndedData(TypedDict):
    """`run.failed`, `run.cancelled`, `run.dead`."""

    error: NotRequired[JsonObject | None]


class RowsAgain(TypedDict):
    """Rows of a map that are asked for again, written as `3,17-20`; `done` and `failed`: how many of them were."""

    rows: str
    done: int
    failed: int


class RunResumedData(TypedDict):
    """The run goes on. Tasks of `reset` are pending again, row outcomes of `clear` are void. The last attempt of tasks
    of `keep` was interrupted: the next one finds its answers in the journal.

    `rows`: of these maps of `reset` only those rows are asked for again, and none else is asked for at all.
    `only`: that task runs, then the run stops; `restart`: a restart, no resume; `clear_usage`: the usage of the tasks
    starts at zero. Without `reset` (a gate was approved) nothing is done again.
    """

    by: str
    from_task: NotRequired[str | None]
    only_failed: NotRequired[bool]
    rows: NotRequired[dict[str, RowsAgain]]
    budget: NotRequired[JsonObject]
    reset: NotRequired[list[str]]
    clear: NotRequired[list[str]]
    keep: NotRequired[list[str]]
    restart: NotRequired[bool]
    only: NotRequired[str | None]
    clear_usage: NotRequired[bool]
    request: NotRequired[str | None]


class RunCancelRequestedData(TypedDict):
    """`by`: the owner, or `admin`."""

    by: str


class RunHeldData(TypedDict):
    """The run waited because the store could not be written."""

    reason: str
    seconds: float
    tries: int


class WorkerCrashedData(TypedDict):
    """`crashes`: how many in a row without progress; `counted` is False where it was another run that ended the process
    which they shared."""

    error: JsonObject
    crashes: int
    counted: NotRequired[bool]


class BudgetWarningData(TypedDict):
    """80 % of a budget are used. `scope`: `run`, `day` or a task's name; `day`: which one, as `2026-11-22`."""

    scope: str
    used: JsonObject
    budget: JsonObject
    fraction: float
    day: NotRequired[str]


# -- gates ----------------------------------------------------------------------------------------------


class GateOpenedData(TypedDict):
    """`artifacts`: names of the files that help to decide."""

    message: str
    artifacts: list[str]


class GateDecidedData(TypedDict):
    """`copied`: the decision was made in the run that this one is a fork of."""

    decision: Literal["approve", "reject"]
    note: NotRequired[str]
    by: NotRequired[str | None]
    copied: NotRequired[bool]


# -- tasks ----------------------------------------------------------------------------------------------


class TaskStartedData(TypedDict):
    """The number of the attempt, from 1."""

    attempt: int


class TaskStageData(TypedDict):
    """A stage begins; `round` counts refinements."""

    stage: str
    round: int


class TaskWaitingData(TypedDict):
    """A wait that a person should see. `stays`: until a stage begins, the task ends, or one with `reason` None.
    `gate`: what the run of a task's pipeline waits for."""

    reason: str | None
    seconds: NotRequired[float | None]
    stays: NotRequired[bool]
    gate: NotRequired[GateBelow]


class TaskRetryingData(TypedDict):
    """The attempt failed; the next one starts after `delay` seconds."""

    attempt: int
    delay: float
    error: JsonObject


class _TaskEnd(TypedDict):
    seconds: float
    votes: NotRequired[VoteCount]
    scores: NotRequired[RowScores]
    artifacts: NotRequired[list[JsonObject]]
    copied: NotRequired[bool]


class TaskDoneData(_TaskEnd):
    """In the log: `output` is the reference `[n, index]` of the payload."""

    output: list[int]


class TaskDoneDraft(_TaskEnd):
    """In a commit: `output` is the index of one of its payloads."""

    output: int


class TaskFailedData(TypedDict):
    """The last attempt failed."""

    error: JsonObject
    seconds: float


class TaskSkippedData(TypedDict):
    """`by`: the task that skipped it."""

    reason: str | None
    by: NotRequired[str | None]


class TasksAddedData(TypedDict):
    """The task of the event put these definitions behind the task `after`."""

    tasks: list[JsonObject]
    after: NotRequired[str]


# -- maps -----------------------------------------------------------------------------------------------


class MapStartedData(TypedDict):
    """`stage` stands for all stages of its rows; they are rows of the seed's list `of`."""

    total: int
    stage: NotRequired[str]
    of: NotRequired[str]


class MapProgressData(OperatorCounts):
    """Rows so far; `usage` since the last one. An operator's last one: `kept`, `made`. `alone`: by the first model."""

    done: int
    failed: int
    in_flight: int
    reused: NotRequired[int]
    usage: NotRequired[JsonObject | None]


class ItemFailedData(TypedDict):
    """The outcome of a row is an error."""

    error: JsonObject


# -- maps on several machines ---------------------------------------------------------------------------


class ShardsPlannedData(TypedDict):
    """These child runs work on the rows from now on; they are created after it. `number`: the attempt of the map."""

    number: int
    shards: list[ShardPlan]


class ShardMergedData(TypedDict):
    """What the records of a child run up to `n` say is in this log from here on. `usage`: of a pipeline's, what its
    tasks used in them; of a map's rows it is in `map.progress`."""

    run: str
    n: int
    usage: NotRequired[JsonObject]


class ShardReopenedData(TypedDict):
    """The run of a task's pipeline, which had ended at its record `n`, is resumed in attempt `number` of the task.
    `share`: its budget from now on, what it used before included; `only_failed`: rows that failed are asked again."""

    run: str
    number: int
    n: int
    only_failed: NotRequired[bool]
    share: NotRequired[list[float | None]]


class ShardEndedData(TypedDict):
    """A child run has ended, and all that it did is in this log. `state` and `error` are its own; `failed_rows`: of
    the maps of a task's pipeline."""

    run: str
    state: str
    error: NotRequired[JsonObject | None]
    failed_rows: NotRequired[int]


# -- calls of models ------------------------------------------------------------------------------------


class CallRetryData(TypedDict):
    """A try failed; the next one starts after `delay` seconds. Shown like a wait: `reason`, `seconds`."""

    attempt: int
    delay: float
    seconds: float
    reason: str
    error: JsonObject
    stage: str


class CallDoneData(TypedDict):
    """`cached`: the answer of an earlier run, nothing was sent."""

    usage: JsonObject
    model: str
    seconds: float
    stage: str
    cached: bool
    error: NotRequired[JsonObject]


class CallUsageData(TypedDict):
    """`call.unknown` (sent, and the answer lost) and `call.withdrawn` (ended between two tries).

    `covers` of a `call.unknown`: the attempt, as in keys of calls, of the task (of the row `item`) whose calls it
    counts, answered ones of a row included; `all`: of every attempt, and without `item` of every row (of those of
    `rows`, written as `0-99,105`). Without it the call is sent again in the same record.
    """

    stage: str | None
    usage: JsonObject
    covers: NotRequired[int | Literal["all"]]
    rows: NotRequired[str]


# -- batches at a provider ------------------------------------------------------------------------------


class BatchPreparedData(TypedDict):
    """About to be sent. `rows` as `0-99,105`, `reserved` as `[usd, tokens]`, `bytes` and `digest` of the file."""

    token: str
    attempt: int
    provider: str
    model: str
    group: str
    count: int
    rows: str
    bytes: int
    digest: str
    reserved: list[float]


class BatchSubmittedData(TypedDict):
    """`id`: the provider's name of it; `adopted`: found at the provider after a crash."""

    token: str
    id: str
    adopted: bool


class BatchCancellingData(TypedDict):
    """The cancellation of a batch was requested."""

    token: str
    id: str


class BatchDroppedData(TypedDict):
    """The provider certainly does not have the batch."""

    token: str
    error: JsonObject | None


class BatchClosedData(TypedDict):
    """Every answer that there is was recorded."""

    token: str
    id: str | None
    answered: int
    state: Literal["ended", "expired", "refused", "void"]


class BatchRecord(BatchPreparedData):
    """An open batch in the state of its task: what `batch.prepared` and `batch.submitted` said of it."""

    at: str
    offset: int
    id: NotRequired[str]
    adopted: NotRequired[bool]
    cancelling: NotRequired[bool]
