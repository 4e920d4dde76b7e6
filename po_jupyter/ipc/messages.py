"""The messages between orchestrator, workers, zygotes and other servers, and how each stands on the wire.

A message is one line of JSON, `{"op": NAME, FIELD: VALUE, ...}`. Each is a dataclass; its docstring begins with the
direction. All of them are hints (P1): the store has the truth, and a message that is lost loses nothing.

Versions mix: a worker may be adopted by an orchestrator of a newer or an older version. Therefore

* an `op` and the names and types of fields never change;
* a field that is added later has the default None, and is left out of the line when it is None;
* a reader passes over ops and fields that it does not know (`wire.Vocabulary`).

A connection of a worker may carry the messages of many runs: each names its run in the field `run`. Without it a
message is about the process, or, from a worker of one run before 0.2.0, about that run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

from po_jupyter.ipc.rate_messages import (
    LimitedModels,
    RateHistory,
    RatePermitDenied,
    RatePermitDropped,
    RatePermitGranted,
    RatePermitRefused,
    RatePermitRequest,
    RatePermitUsed,
    RatePermitWait,
    RateState,
)
from po_jupyter.ipc.wire import IpcMessage, Vocabulary, WireValue
from po_jupyter.model.values.json import JsonObject

# -- worker to orchestrator ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkerHello(IpcMessage):
    """Worker to orchestrator, first: who it is; `created` is its start time as `platform.processes` counts it."""

    op = "hello"
    run: str
    pid: int
    created: float | None
    fence: int


@dataclass(frozen=True, slots=True)
class SharedHello(IpcMessage):
    """Worker to orchestrator, first, of a process that works many runs off: who it is, and the runs that it has. A
    `WorkerHello` of each follows."""

    op = "process"
    pid: int
    created: float | None
    runs: list[str]


@dataclass(frozen=True, slots=True)
class Heartbeat(IpcMessage):
    """Worker to orchestrator, and back: the sender lives."""

    op = "beat"


@dataclass(frozen=True, slots=True)
class LogGrew(IpcMessage):
    """Worker to orchestrator: records up to `n`, events up to `offset` are committed."""

    op = "committed"
    n: int
    offset: int
    state: str


@dataclass(frozen=True, slots=True)
class TextPiece(IpcMessage):
    """Worker to orchestrator: a piece of a model's answer as it is written; `item` is the row of a map."""

    op = "text"
    task: str
    text: str
    round: int
    attempt: int | None = None
    item: int | None = None


KEEP_FILES, FETCH_FILES = "keep_files", "fetch_files"  # `what` of requests of shared files


@dataclass(frozen=True, slots=True)
class ResourceRequest(IpcMessage):
    """Worker to orchestrator: what only the orchestrator has. `what` is `local_model`, `provider_key` or
    `mcp_variables`, and `model` the name of the model, the provider or the MCP server. For `keep_files` and
    `fetch_files`, where several nodes share files, `about` has `files`, a list of `[path, fence, sha256]`, and `rows`,
    SHA-256s."""

    op = "need"
    id: int
    what: str
    model: str | None = None
    about: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class RestingChanged(IpcMessage):
    """Worker to orchestrator: whether it only waits for a batch at a provider."""

    op = "rest"
    on: bool


@dataclass(frozen=True, slots=True)
class ChildChanged(IpcMessage):
    """Worker to orchestrator: its run created a child run, or wrote to the log of one: look at it."""

    op = "child"
    child: str


@dataclass(frozen=True, slots=True)
class WorkerFinished(IpcMessage):
    """Worker to orchestrator, last: the state in which the run leaves it."""

    op = "bye"
    state: str


@dataclass(frozen=True, slots=True)
class StoreFailure(IpcMessage):
    """Worker to orchestrator, last: why the store could not be used."""

    op = "failed"
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class RunLeft(IpcMessage):
    """Worker to orchestrator: a process of many runs works on this one no more; `status` as an `ExitStatus` says."""

    op = "left"
    status: int


# -- orchestrator to worker ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome(IpcMessage):
    """Orchestrator to worker, first: whether somebody watches the run, and the state of the limiter."""

    op = "welcome"
    watched: bool
    rates: RateState | None = None


@dataclass(frozen=True, slots=True)
class TakeRun(IpcMessage):
    """Orchestrator to worker: a process of many runs works this one off too; `expect` as in a `WorkerRequest`, the
    others as in `Welcome`."""

    op = "take"
    run: str
    expect: int | None
    watched: bool
    rates: RateState | None = None


@dataclass(frozen=True, slots=True)
class LookAtLog(IpcMessage):
    """Orchestrator to worker: somebody wrote to the run's log."""

    op = "look"


@dataclass(frozen=True, slots=True)
class CancelRequested(IpcMessage):
    """Orchestrator to worker: a cancel was written to the run's log."""

    op = "cancel"


@dataclass(frozen=True, slots=True)
class DrainWorker(IpcMessage):
    """Orchestrator to worker: finish the calls in flight, start nothing, give the run back."""

    op = "drain"


@dataclass(frozen=True, slots=True)
class StopWorker(IpcMessage):
    """Orchestrator to worker: another process has the run; end at once."""

    op = "stop"


@dataclass(frozen=True, slots=True)
class WatchedChanged(IpcMessage):
    """Orchestrator to worker: whether somebody watches the run."""

    op = "watched"
    on: bool


@dataclass(frozen=True, slots=True)
class ResourceProgress(IpcMessage):
    """Orchestrator to worker: what a `ResourceRequest` waits for, for people."""

    op = "progress"
    id: int
    text: str


@dataclass(frozen=True, slots=True)
class ResourceResponse(IpcMessage):
    """Orchestrator to worker: the resource of a `ResourceRequest` (for a local model the `base_url` and `key` of
    its server, of `fetch_files` the `problems` by path, else `variables` by name), or the error, as `PoError.to_json`
    writes it. With the key of a provider that is asked through the gateway of a hub come its `prices`, for
    `TeamPrices`."""

    op = "answer"
    id: int
    base_url: str | None = None
    key: str | None = field(default=None, repr=False)
    error: JsonObject | None = None
    variables: dict[str, str] | None = field(default=None, repr=False)
    problems: dict[str, str] | None = None
    prices: JsonObject | None = None


# -- another server to the one that holds the store ---------------------------------------------------


class CallWait(TypedDict):
    """Calls of one run to one model that wait for a rate limit: how many, seconds until the next may go (None: not
    known), seconds that the oldest has waited, and for what."""

    run: str
    model: str
    calls: int
    seconds: float | None
    waited: float
    reason: str


class OrchestratorLoad(TypedDict):
    """The load of the holder of the store: runs at work, runs that wait and their places, and why runs wait for
    the store, for people; `waits` for rate limits, and those limits, as newer holders tell them."""

    running: int
    queued: int
    positions: dict[str, int]
    held: dict[str, str]
    waits: NotRequired[list[CallWait]]
    rates: NotRequired[dict[str, dict[str, int]]]


@dataclass(frozen=True, slots=True)
class Notify(IpcMessage):
    """Server to orchestrator: look at this run (None: only tell the load)."""

    op = "poke"
    run: str | None


@dataclass(frozen=True, slots=True)
class NotifyReply(IpcMessage):
    """Orchestrator to server: seen to, and what there is to do."""

    op = "ok"
    load: OrchestratorLoad | None = None


# -- orchestrator and zygote ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkerRequest(WireValue):
    """The start parameters of a worker: its run, the fence that is expected, the orchestrator's `address`, where its
    log goes, its directory and its environment, the `fingerprints` of secrets (`telemetry.redaction`), the URL of the
    `store` where it is not in the data directory, and the headers of the exporter of traces. A zygote reads it, so no
    key of a model is in it. `credential` is for the link of a worker of spawn (`ipc.credentials`). With `turns`, the
    directory of its turn file, it is a process of many runs: `run` is "", and a `TakeRun` brings each."""

    run: str
    expect: int | None
    address: str
    watched: bool
    shards: int
    settings: JsonObject
    cwd: str | None
    log: str
    env: dict[str, str] = field(repr=False)
    log_token: str | None = field(repr=False)
    fingerprints: list[JsonObject] | None = None
    store: str | None = field(default=None, repr=False)
    turns: str | None = None
    credential: str | None = field(default=None, repr=False)
    trace_headers: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Spawn(IpcMessage):
    """Orchestrator to zygote: fork a worker; `request` is a `WorkerRequest`."""

    op = "spawn"
    id: int
    request: JsonObject = field(repr=False)


@dataclass(frozen=True, slots=True)
class ZygoteHello(IpcMessage):
    """Zygote to orchestrator, first: its version of po_jupyter, of this protocol, and of Python."""

    op = "hello"
    version: str
    protocol: int
    python: str | None = None
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerSpawned(IpcMessage):
    """Zygote to orchestrator: the worker exists."""

    op = "spawned"
    id: int
    pid: int
    created: float | None


@dataclass(frozen=True, slots=True)
class ForkFailed(IpcMessage):
    """Zygote to orchestrator: there is no worker, and why."""

    op = "failed"
    id: int
    error: str


@dataclass(frozen=True, slots=True)
class WorkerExited(IpcMessage):
    """Zygote to orchestrator: a worker ended; `status` as `os.waitstatus_to_exitcode` gives it."""

    op = "exited"
    pid: int
    status: int


TO_ORCHESTRATOR = Vocabulary((
    WorkerHello, SharedHello, Heartbeat, LogGrew, TextPiece, ResourceRequest, RestingChanged, ChildChanged,
    WorkerFinished, StoreFailure, RunLeft, RateHistory, RatePermitRequest, RatePermitDropped, RatePermitUsed,
    RatePermitRefused, Notify,
))  # fmt: skip
FROM_ORCHESTRATOR = Vocabulary((
    Welcome, TakeRun, Heartbeat, LookAtLog, CancelRequested, DrainWorker, StopWorker, WatchedChanged, ResourceProgress,
    ResourceResponse, LimitedModels, RatePermitGranted, RatePermitDenied, RatePermitWait, NotifyReply,
))  # fmt: skip
TO_ZYGOTE = Vocabulary((Spawn,))
FROM_ZYGOTE = Vocabulary((ZygoteHello, WorkerSpawned, ForkFailed, WorkerExited))
