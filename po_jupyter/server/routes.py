"""THE table of routes. The handler, the checks, openapi.json and the tests are all read from it.

A route names its method, path, scopes (each an action and a resource of Jupyter's authorizer, see
`auth.SCOPES`), the shapes of its query and body, and the function that calls the orchestrator.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel

from po_jupyter.errors import InvalidInput
from po_jupyter.model.violations import did_you_mean
from po_jupyter.server import stream
from po_jupyter.server.shapes import (
    AuditQuery,
    CallsQuery,
    CleanBody,
    DeadQuery,
    DefinitionBody,
    DoctorQuery,
    EmptyBody,
    EstimateBody,
    EventsQuery,
    ExportQuery,
    ForkBody,
    GateBody,
    ItemsQuery,
    KeyBody,
    ListRuns,
    LogsQuery,
    ModelsQuery,
    OutputsQuery,
    Query,
    RequeueBody,
    RestartBody,
    ResumeBody,
    SubmitBody,
    UsageQuery,
    ValidateBody,
)

if TYPE_CHECKING:
    from po_jupyter.server.hosting import Hosting

PREFIX = "po/api/v1"
EVENTS, LINES = "text/event-stream", "application/x-ndjson"


class Answer(NamedTuple):
    """A JSON answer with its status; 204 has no body."""

    value: Any
    status: int = 200


class File(NamedTuple):
    """An answer that is a file, to be saved and never to be shown: a model may have written it (P6)."""

    content: bytes
    name: str


class Streamed(NamedTuple):
    """An answer that goes on: server-sent events, or lines (`media`)."""

    source: AsyncGenerator[bytes, None]
    media: str = EVENTS


@dataclass(frozen=True)
class Call:
    """One checked request, as a route's function sees it."""

    orchestrator: Any
    owner: str
    path: dict[str, str]
    query: Any
    body: Any
    code_allowed: bool
    extension: Hosting
    accept: str
    last_event_id: str | None
    upload: Any = None


Run = Callable[[Call], Awaitable[Any]]
Receive = Callable[[Any, str, dict[str, str]], Awaitable[Any]]  # orchestrator, owner, the path's parts


# -- what the routes do -------------------------------------------------------------------------
async def health(call: Call) -> Any:
    """The server answers."""
    return {"status": "ok"}


async def ready(call: Call) -> Any:
    """Whether runs can be started; 503 when not."""
    state = call.extension.host.readiness()
    return Answer(state, 200 if state.get("ready") else 503)


async def openapi(call: Call) -> Any:
    """This table as OpenAPI 3.1."""
    from po_jupyter.server.openapi import document

    return document(TABLE)


async def meta(call: Call) -> Any:
    """Version, user, orchestrator, limits, providers."""
    return {**call.orchestrator.meta(), "user": {"name": call.owner}}


async def models(call: Call) -> Any:
    """Models that can be used now, with prices, and why not the others."""
    return {"models": await call.orchestrator.models(word=call.query.word, provider=call.query.provider)}


async def list_pipelines(call: Call) -> Any:
    """Registered pipelines."""
    return {"pipelines": await call.orchestrator.list_pipelines(owner=call.owner)}


async def put_pipeline(call: Call) -> Any:
    """Register a definition."""
    definition = dict(call.body)
    kept, created = await call.orchestrator.put_pipeline(call.path["name"], definition, owner=call.owner)
    return Answer({"pipeline": kept}, 201 if created else 200)


async def get_pipeline(call: Call) -> Any:
    """A registered definition."""
    return {"pipeline": await call.orchestrator.get_pipeline(call.path["name"], owner=call.owner)}


async def delete_pipeline(call: Call) -> Any:
    """Forget a registered definition; runs keep theirs."""
    await call.orchestrator.delete_pipeline(call.path["name"], owner=call.owner)
    return Answer(None, 204)


async def validate(call: Call) -> Any:
    """Check a pipeline (and a seed); starts nothing."""
    return await call.orchestrator.validate(_given(call.body), owner=call.owner)


async def submit(call: Call) -> Any:
    """Start a run: durable when this answers. The same idempotency key gives the same run."""
    view, created = await call.orchestrator.submit(
        _given(call.body), owner=call.owner, code_allowed=call.code_allowed
    )
    return Answer({"run": stream.dump(view)}, 201 if created else 200)


async def estimate(call: Call) -> Any:
    """What a run would cost: calls, tokens and dollars, estimated; starts nothing."""
    return await call.orchestrator.estimate(_given(call.body), owner=call.owner, code_allowed=call.code_allowed)


async def receive_blob(orchestrator: Any, owner: str, path: dict[str, str]) -> Any:
    """Where the bytes of PUT blobs go."""
    return await orchestrator.receive_blob(path["sha256"], owner)


async def put_blob(call: Call) -> Any:
    """Keep a file of rows (JSON lines) under its SHA-256; the same file again changes nothing."""
    return Answer({"blob": await call.upload.keep()}, 201)


async def get_blob(call: Call) -> Any:
    """Whether a file of rows is here: its size and its number of rows."""
    return {"blob": await call.orchestrator.blob(call.path["sha256"], call.owner)}


async def list_runs(call: Call) -> Any:
    """My runs, newest first."""
    query: ListRuns = call.query
    views, cursor = await call.orchestrator.list(
        call.owner, query.state, query.pipeline, query.cursor, query.limit
    )
    return {"runs": [stream.dump(view) for view in views], "next": cursor}


async def get_run(call: Call) -> Any:
    """One run, by its id or a unique end of it."""
    return _run(await call.orchestrator.get(call.path["id"], call.owner))


async def delete_run(call: Call) -> Any:
    """Remove an ended run."""
    await call.orchestrator.delete(call.path["id"], call.owner)
    return Answer(None, 204)


async def cancel(call: Call) -> Any:
    """Stop a run; what is finished is kept."""
    return _run(await call.orchestrator.cancel(call.path["id"], call.owner))


async def resume(call: Call) -> Any:
    """Go on with an ended run."""
    body: ResumeBody = call.body
    return _run(
        await call.orchestrator.resume(
            call.path["id"],
            call.owner,
            from_task=body.from_task,
            only_failed=body.only_failed,
            budget=body.budget,
            code_allowed=call.code_allowed,
        )
    )


async def restart(call: Call) -> Any:
    """Do an ended run again: all of it, from a task on, or one task only."""
    body: RestartBody = call.body
    return _run(
        await call.orchestrator.restart(
            call.path["id"],
            call.owner,
            body.task,
            only=body.only,
            clear_usage=body.clear_usage,
            code_allowed=call.code_allowed,
        )
    )


async def fork(call: Call) -> Any:
    """A new run with the checkpoints of the tasks before one; the old run stays as it is."""
    body: ForkBody = call.body
    view = await call.orchestrator.fork(
        call.path["id"],
        call.owner,
        body.from_task,
        seed=body.seed,
        pipeline=body.pipeline,
        code_allowed=call.code_allowed,
    )
    return Answer(_run(view), 201)


async def dead_letters(call: Call) -> Any:
    """Runs that exhausted their attempts, with their context."""
    query: DeadQuery = call.query
    letters, cursor = await call.orchestrator.dead_letters(call.owner, query.cursor, query.limit)
    return {"dead_letters": letters, "next": cursor}


async def requeue(call: Call) -> Any:
    """Try a dead run again."""
    return _run(
        await call.orchestrator.requeue(
            call.path["id"], call.owner, call.body.from_task, code_allowed=call.code_allowed
        )
    )


async def discard(call: Call) -> Any:
    """Remove a dead run."""
    await call.orchestrator.discard(call.path["id"], call.owner)
    return Answer(None, 204)


async def gate(call: Call) -> Any:
    """Decide the open gate of a run."""
    return _run(await call.orchestrator.gate(call.path["id"], call.owner, call.body.decision, call.body.note))


async def outputs(call: Call) -> Any:
    """Outputs of finished tasks."""
    return {"outputs": await call.orchestrator.outputs(call.path["id"], call.owner, call.query.task)}


async def artifacts(call: Call) -> Any:
    """Files that finished tasks wrote, and those that came with the seed."""
    return {"artifacts": await call.orchestrator.artifacts(call.path["id"], call.owner)}


async def artifact(call: Call) -> Any:
    """One of these files."""
    name = call.path["path"]
    return File(await call.orchestrator.artifact(call.path["id"], call.owner, name), name.rpartition("/")[2])


async def items(call: Call) -> Any:
    """Rows of a map, in order."""
    query: ItemsQuery = call.query
    rows, cursor = await call.orchestrator.items(
        call.path["id"], call.owner, query.task, state=query.state, cursor=query.cursor, limit=query.limit
    )
    return {"items": rows, "next": cursor}


async def calls(call: Call) -> Any:
    """Calls to models, from the journal."""
    query: CallsQuery = call.query
    rows, cursor = await call.orchestrator.calls(
        call.path["id"], call.owner, query.task, cursor=query.cursor, limit=query.limit, state=query.state
    )
    return {"calls": rows, "next": cursor}


async def logs(call: Call) -> Any:
    """What the stages of a run printed: the end of each log."""
    query: LogsQuery = call.query
    found = await call.orchestrator.logs(call.path["id"], call.owner, query.task, query.stage)
    return {"logs": found}


async def run_events(call: Call) -> Any:
    """The events of a run: a stream (SSE), or one page in JSON when only that is accepted."""
    since = call.query.since
    view = await call.orchestrator.get(call.path["id"], call.owner, whole_seed=False)
    if "application/json" in call.accept and "text/event-stream" not in call.accept:
        found = await call.orchestrator.events(view.id, call.owner, since, call.query.limit)
        return {"events": found}
    if call.last_event_id is not None:  # a browser that comes back knows better than its first URL
        if not re.fullmatch(r"\d{1,15}", call.last_event_id.strip()):
            raise InvalidInput(f"Last-Event-ID is an offset, not {call.last_event_id[:40]!r}")
        since = int(call.last_event_id)
    return Streamed(stream.run_events(call.orchestrator, view, call.owner, since))


async def all_events(call: Call) -> Any:
    """All my runs, live (SSE)."""
    return Streamed(stream.all_runs(call.orchestrator, call.owner))


async def export(call: Call) -> Any:
    """Ended runs, the newest first, as lines of JSON (ndjson)."""
    query: ExportQuery = call.query
    return Streamed(stream.ended_runs(call.orchestrator, call.owner, query.state, query.pipeline), media=LINES)


async def usage(call: Call) -> Any:
    """What my calls used by day, and how much room my runs take."""
    return await call.orchestrator.usage(call.owner, days=call.query.days)


async def clean(call: Call) -> Any:
    """Delete old ended runs, or say which would go; what can be resumed stays unless its state is named. With
    `cache`, my cached answers of models instead."""
    body: CleanBody = call.body
    return await call.orchestrator.clean(
        call.owner, dry_run=body.dry_run, older_than=body.older_than, states=body.states, cache=body.cache
    )


async def list_keys(call: Call) -> Any:
    """Keys of providers, masked: whether there is one, where it comes from, whom it is for."""
    return {"keys": await call.orchestrator.list_keys()}


async def set_key(call: Call) -> Any:
    """Keep a provider's key where the orchestrator runs; the next run has it."""
    key = call.body.key.get_secret_value()
    return {"key": await call.orchestrator.set_key(call.path["provider"], key)}


async def remove_key(call: Call) -> Any:
    """Forget the stored key of a provider."""
    await call.orchestrator.remove_key(call.path["provider"])
    return Answer(None, 204)


async def doctor(call: Call) -> Any:
    """What could keep runs from working where the orchestrator runs, each finding with what to do."""
    return {"findings": await call.orchestrator.doctor(online=call.query.online)}


async def audit(call: Call) -> Any:
    """Who changed what, and when; the newest first."""
    query: AuditQuery = call.query
    entries, cursor = await asyncio.to_thread(call.extension.audit.read, cursor=query.cursor, limit=query.limit)
    return {"entries": entries, "next": cursor}


def _given(body: Any) -> dict[str, Any]:
    """What a body says. Definitions and seeds are handed on as they are: a copy of a large one takes time."""
    return {
        name: value.model_dump(exclude_none=True) if isinstance(value, BaseModel) else value
        for name, value in body
        if value is not None
    }


def _run(view: Any) -> dict[str, Any]:
    return {"run": stream.dump(view)}


# -- the table ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Route:
    """One line of the table. `scopes` are all needed; `asks_code`: `code:run` is asked for, not needed.

    `receive` says where the bytes of a body go that is no JSON and never held as a whole.
    """

    method: str
    path: str
    scopes: tuple[str, ...]
    run: Run
    query: type[BaseModel] = Query
    body: type[BaseModel] | None = None
    success: int = 200
    streams: bool = False
    media: str = "application/json"  # of the answer
    changes: bool | None = None  # something durable, so that the audit log tells of it; None: all but GET do
    needs_orchestrator: bool = True
    asks_code: bool = False
    receive: Receive | None = None

    @property
    def audited(self) -> bool:
        """Whether a call of it is a line of the audit log, as an action with the function's name."""
        return self.changes if self.changes is not None else self.method != "GET"

    @property
    def summary(self) -> str:
        """The first line of what the function says about itself."""
        return (self.run.__doc__ or "").strip().splitlines()[0]


READ, WRITE, ADMIN = ("runs:read",), ("runs:write",), ("admin",)


@dataclass(frozen=True)
class Table:
    """Routes, and how a path finds its own."""

    routes: Sequence[Route]
    _patterns: list[tuple[re.Pattern[str], Route]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        patterns = [(_pattern(route.path), route) for route in self.routes]
        object.__setattr__(self, "_patterns", patterns)

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]] | list[str]:
        """The route and its path's parts; else the methods that this path has ([] for an unknown path)."""
        others: list[str] = []
        for pattern, route in self._patterns:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            if route.method == method:
                return route, found.groupdict()
            others.append(route.method)
        return others

    def suggest(self, path: str) -> str:
        """`; did you mean ...?`, or nothing."""
        return did_you_mean(path, [route.path for route in self.routes])


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)  # text, name, text, name, ...
    steps = {"path": "."}  # the name of a file may have directories
    return re.compile(
        "".join(
            f"(?P<{part}>{steps.get(part, '[^/]')}{{1,200}})" if i % 2 else re.escape(part)
            for i, part in enumerate(parts)
        )
    )


TABLE = Table(
    (
        Route("GET", "health", READ, health, needs_orchestrator=False),
        Route("GET", "ready", READ, ready, needs_orchestrator=False),
        Route("GET", "openapi.json", READ, openapi, needs_orchestrator=False),
        Route("GET", "meta", READ, meta),
        Route("GET", "models", READ, models, query=ModelsQuery),
        Route("GET", "pipelines", READ, list_pipelines),
        Route("POST", "pipelines/validate", READ, validate, body=ValidateBody, changes=False),
        Route("GET", "pipelines/{name}", READ, get_pipeline),
        Route("PUT", "pipelines/{name}", WRITE, put_pipeline, body=DefinitionBody, success=201),
        Route("DELETE", "pipelines/{name}", WRITE, delete_pipeline, success=204),
        Route("GET", "blobs/{sha256}", READ, get_blob),
        Route("PUT", "blobs/{sha256}", WRITE, put_blob, success=201, receive=receive_blob),
        Route("POST", "runs", WRITE, submit, body=SubmitBody, success=201, asks_code=True),
        Route("POST", "runs/estimate", READ, estimate, body=EstimateBody, asks_code=True),
        Route("GET", "runs", READ, list_runs, query=ListRuns),
        Route("GET", "runs/export", READ, export, query=ExportQuery, streams=True, media=LINES),
        Route("GET", "runs/{id}", READ, get_run),
        Route("DELETE", "runs/{id}", WRITE, delete_run, success=204),
        Route("POST", "runs/{id}/cancel", WRITE, cancel, body=EmptyBody),
        Route("POST", "runs/{id}/resume", WRITE, resume, body=ResumeBody, asks_code=True),
        Route("POST", "runs/{id}/restart", WRITE, restart, body=RestartBody, asks_code=True),
        Route("POST", "runs/{id}/fork", WRITE, fork, body=ForkBody, success=201, asks_code=True),
        Route("POST", "runs/{id}/gate", ("gates",), gate, body=GateBody),
        Route("GET", "runs/{id}/outputs", READ, outputs, query=OutputsQuery),
        Route("GET", "runs/{id}/artifacts", READ, artifacts),
        Route("GET", "runs/{id}/artifacts/{path}", READ, artifact, media="application/octet-stream"),
        Route("GET", "runs/{id}/items", READ, items, query=ItemsQuery),
        Route("GET", "runs/{id}/calls", READ, calls, query=CallsQuery),
        Route("GET", "runs/{id}/logs", READ, logs, query=LogsQuery),
        Route("GET", "runs/{id}/events", READ, run_events, query=EventsQuery, streams=True, media=EVENTS),
        Route("GET", "events", READ, all_events, streams=True, media=EVENTS),
        Route("GET", "usage", READ, usage, query=UsageQuery),
        Route("POST", "clean", WRITE, clean, body=CleanBody),
        Route("GET", "keys", ADMIN, list_keys),
        Route("PUT", "keys/{provider}", ADMIN, set_key, body=KeyBody),
        Route("DELETE", "keys/{provider}", ADMIN, remove_key, success=204),
        Route("GET", "doctor", ADMIN, doctor, query=DoctorQuery),
        Route("GET", "audit", ("admin",), audit, query=AuditQuery, needs_orchestrator=False),
        Route("GET", "dead-letters", READ, dead_letters, query=DeadQuery),
        Route("POST", "dead-letters/{id}/requeue", WRITE, requeue, body=RequeueBody, asks_code=True),
        Route("DELETE", "dead-letters/{id}", WRITE, discard, success=204),
    )
)
