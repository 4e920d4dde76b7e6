"""An orchestrator in memory: no store and no workers; runs move as their definitions say, or when a test moves them.

mypy checks that it is an `OrchestratorApi`, as the real one is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, BinaryIO, Literal, NamedTuple, NoReturn

from po_jupyter.config import Settings
from po_jupyter.errors import Conflict, Forbidden, InvalidSeed, NotFound, Unavailable
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.comparing import ScoresWithVariants
from po_jupyter.model.run.events import EventRecord, now
from po_jupyter.model.run.scores import ExpectedAnswer, ScoredRow, ScoreQuery
from po_jupyter.model.run.seed import read_seed
from po_jupyter.model.run.view import ENDED, RunView, TaskView
from po_jupyter.orchestrator.monitoring.service import ProbeReport
from po_jupyter.server.routing.api import (
    JsonMapping,
    OrchestratorApi,
    OrchestratorFactory,
)
from po_jupyter.server.routing.monitoring import ReadinessReport
from po_jupyter.server.routing.pipelines import CallerRights
from po_jupyter.server.routing.scoring import AnswersScored


class FakeNotification(NamedTuple):
    """As the change feed's."""

    kind: Literal["changed", "text", "held"]
    run: str
    data: JsonMapping


class FakeSubscription:
    """An unbounded queue."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[FakeNotification] = asyncio.Queue()

    async def get(self, timeout: float) -> FakeNotification | None:  # noqa: ASYNC109 - the feed's
        try:
            return await asyncio.wait_for(self.queue.get(), timeout)
        except TimeoutError:
            return None


class FakeChanges:
    """Publish and subscribe."""

    def __init__(self) -> None:
        self.open: dict[FakeSubscription, str | None] = {}

    @contextlib.asynccontextmanager
    async def subscribe(self, run: str | None) -> AsyncIterator[FakeSubscription]:
        subscription = FakeSubscription()
        self.open[subscription] = run
        try:
            yield subscription
        finally:
            del self.open[subscription]

    def publish(self, kind: Literal["changed", "text", "held"], run: str, **data: object) -> None:
        for subscription, subject in self.open.items():
            if subject in (None, run):
                subscription.queue.put_nowait(FakeNotification(kind, run, {"run": run, **data}))


class FakeLog:
    """The runs of one fake: their views, events, keys, and registered pipelines."""

    def __init__(self, changes: FakeChanges) -> None:
        self.changes = changes
        self.views: dict[str, RunView] = {}
        self.log: dict[str, list[EventRecord]] = {}
        self.keys: dict[tuple[str, str], tuple[str, str]] = {}
        self.named: dict[str, dict[str, Any]] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def emit(self, run_id: str, kind: str, task: str | None = None, **view: Any) -> None:
        """Append an event and change the view."""
        log = self.log[run_id]
        log.append({"offset": len(log) + 1, "at": now(), "type": kind, "run": run_id, "data": {}})
        if task:
            log[-1]["task"] = task
        before = self.views[run_id]
        self.views[run_id] = before.model_copy(update={"last_event": len(log), "updated_at": now(), **view})
        self.changes.publish("changed", run_id)

    def play(self, run_id: str, steps: int) -> None:
        """Work the run off in so many ticks of 20 ms."""
        self.tasks.add(asyncio.create_task(self._play(run_id, steps)))

    async def _play(self, run_id: str, steps: int) -> None:
        self.emit(run_id, "run.started", state="running")
        task = self.views[run_id].tasks[0].name
        for _ in range(steps):
            await asyncio.sleep(0.02)
            if self.views[run_id].state in ENDED:
                return
            self.emit(run_id, "task.stage", task)
            self.changes.publish("text", run_id, task=task, text="wo\u2028rd", round=0)
        done = tuple(
            t.model_copy(update={"state": "done", "ended_at": now()}) for t in self.views[run_id].tasks
        )
        self.emit(run_id, "run.done", state="done", tasks=done)

    def find(self, run_id: str, owner: str | None) -> str:
        """The whole id of a run, or NotFound."""
        for whole, view in self.views.items():
            same = whole == run_id or (len(run_id) >= 4 and whole.endswith(run_id))
            if same and owner in (None, view.owner):
                return whole
        raise NotFound(f"there is no run {run_id!r}")

    def view(self, run_id: str, owner: str | None) -> RunView:
        return self.views[self.find(run_id, owner)]


class FakePipelines:
    """Registered pipelines."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log

    async def summaries(self, *, owner: str) -> list[JsonMapping]:
        return [{"name": name} for name in sorted(self._log.named)]

    async def put(
        self, name: str, definition: object, *, owner: str, code_allowed: bool = True
    ) -> tuple[JsonMapping, bool]:
        created = name not in self._log.named
        self._log.named[name] = validate_pipeline(definition, name=name).to_json()
        return self._log.named[name], created

    async def get(self, name: str, *, owner: str) -> JsonMapping:
        if name not in self._log.named:
            raise NotFound(f"no pipeline {name!r} is registered")
        return self._log.named[name]

    async def delete(self, name: str, *, owner: str) -> None:
        await self.get(name, owner=owner)
        del self._log.named[name]


class FakeSchedules:
    """Schedules that never come due."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}

    async def summaries(self, *, owner: str) -> list[JsonMapping]:
        return [*self.kept.values()]

    async def get(self, schedule: str, *, owner: str) -> JsonMapping:
        if schedule not in self.kept:
            raise NotFound(f"there is no schedule {schedule!r}")
        return self.kept[schedule]

    async def add(self, body: JsonMapping, *, owner: str, rights: CallerRights) -> JsonMapping:
        kept = {"id": secrets.token_hex(4), **body, "state": "active", "last": None, "next_at": None}
        self.kept[str(kept["id"])] = kept
        return kept

    async def replace(
        self, schedule: str, body: JsonMapping, *, owner: str, rights: CallerRights
    ) -> JsonMapping:
        await self.get(schedule, owner=owner)
        self.kept[schedule].update(body)
        return self.kept[schedule]

    async def change(
        self, schedule: str, body: JsonMapping, *, owner: str, rights: CallerRights
    ) -> JsonMapping:
        return await self.replace(schedule, body, owner=owner, rights=rights)

    async def remove(self, schedule: str, *, owner: str) -> None:
        await self.get(schedule, owner=owner)
        del self.kept[schedule]

    async def run(self, schedule: str, *, owner: str, rights: CallerRights) -> NoReturn:
        await self.get(schedule, owner=owner)
        raise Conflict("there is no new file")

    async def pause_of_token(self, token: str, *, owner: str) -> None:
        pass


class FakeSubmissions:
    """New runs; no files of rows."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log

    async def submit(self, body: JsonMapping, *, owner: str, code_allowed: bool = True) -> tuple[RunView, bool]:
        definition = body.get("pipeline")
        if isinstance(definition, str):
            definition = self._log.named.get(definition, definition)
        pipeline = validate_pipeline(definition)
        seed = read_seed(body["seed"])
        if not code_allowed and (body.get("interpreter") or any(t.source for t in pipeline.tasks)):
            raise Forbidden("Python needs the scope code:run")
        if seed.data.get("refuse"):
            raise InvalidSeed("refused")
        key = body.get("idempotency_key")
        digest = hashlib.sha256(json.dumps([definition, body["seed"]], sort_keys=True).encode()).hexdigest()
        if key and (owner, str(key)) in self._log.keys:
            run_id, before = self._log.keys[owner, str(key)]
            if before != digest:
                raise Conflict("this idempotency key was used with another body")
            return self._log.views[run_id], False
        run_id = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(5)}"
        if key:
            self._log.keys[owner, str(key)] = (run_id, digest)
        self._log.views[run_id] = RunView(
            id=run_id,
            name=seed.name,
            pipeline=pipeline.name,
            version=pipeline.version,
            state="pending",
            created_at=now(),
            updated_at=now(),
            seed={"name": seed.name},
            owner=owner,
            tasks=tuple(TaskView(name=t.name, kind=t.kind) for t in pipeline.tasks),
        )
        self._log.log[run_id] = []
        self._log.emit(run_id, "run.created")
        if "steps" in pipeline.metadata:
            self._log.play(run_id, int(pipeline.metadata["steps"]))
        return self._log.views[run_id], True

    async def validate(self, body: JsonMapping, *, owner: str) -> JsonMapping:
        return {"ok": True, "pipeline": validate_pipeline(body["pipeline"]).to_json(), "warnings": []}

    async def estimate(self, body: JsonMapping, *, owner: str, code_allowed: bool = True) -> JsonMapping:
        validate_pipeline(body["pipeline"])
        cost = {"expected": None, "worst": 0.5}
        return {"estimated": True, "calls": 3, "cost": cost, "tasks": [], "unknown": []}

    async def receive_rows(self, digest: str, owner: str) -> NoReturn:
        raise NotFound("no files here")

    async def row_file(self, digest: str, owner: str) -> NoReturn:
        raise NotFound("no files here")


class FakeRuns:
    """Queries."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log

    async def get(self, run_id: str, owner: str | None, *, whole_seed: bool = True) -> RunView:
        return self._log.view(run_id, owner)

    async def recent(self, pipeline: str, owner: str | None) -> RunView | None:
        views, _ = await self.page(owner, pipeline=pipeline, limit=1)
        return views[0] if views else None

    async def page(
        self,
        owner: str | None,
        states: Sequence[str] = (),
        pipeline: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        *,
        q: str = "",
        since: str = "",
        until: str = "",
        children: bool = False,
    ) -> tuple[list[RunView], str | None]:
        views = [
            view
            for view in sorted(self._log.views.values(), key=lambda v: v.id, reverse=True)
            if owner in (None, view.owner)
            and (children or view.parent is None)
            and q.casefold() in f"{view.id} {view.pipeline} {view.name}".casefold()
            and since <= view.created_at
            and (not until or view.created_at < until)
            and (not states or view.state in states)
            and (pipeline is None or view.pipeline == pipeline)
            and (cursor is None or view.id < cursor)
        ]
        return views[:limit], views[limit - 1].id if len(views) > limit else None

    async def attention(self, owner: str | None) -> tuple[list[RunView], int]:
        views, _ = await self.page(owner, ("waiting", "failed", "dead"), limit=100)
        return views, len(views)

    async def events(
        self, run_id: str, owner: str | None, since: int = 0, limit: int = 1000
    ) -> list[EventRecord]:
        return self._log.log[self._log.find(run_id, owner)][since : since + limit]

    async def dead_letters(
        self, owner: str | None, cursor: str | None = None, limit: int = 50
    ) -> tuple[list[JsonMapping], str | None]:
        return [], None


class FakeResults:
    """Five rows, of which the third failed; no files, no calls, no logs."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log

    async def outputs(self, run_id: str, owner: str | None, task: str | None = None) -> JsonMapping:
        tasks = self._log.view(run_id, owner).tasks
        return {t.name: {"said": t.name} for t in tasks if t.state == "done" and task in (None, t.name)}

    async def pipeline(self, run_id: str, owner: str | None) -> JsonMapping:
        view = self._log.view(run_id, owner)
        tasks = [{"name": task.name} for task in view.tasks]
        return {"pipeline": {"name": view.pipeline, "tasks": tasks}, "needs": {t.name: [] for t in view.tasks}}

    async def artifacts(self, run_id: str, owner: str | None) -> list[JsonMapping]:
        self._log.find(run_id, owner)
        return []

    async def artifact(self, run_id: str, owner: str | None, name: str) -> BinaryIO:
        self._log.find(run_id, owner)
        raise NotFound(f"there is no artifact {name!r}")

    async def items(
        self,
        run_id: str,
        owner: str | None,
        task: str,
        state: str | None = None,
        cursor: str | None = None,
        limit: int = 1000,
        *,
        result: bool = False,
    ) -> tuple[list[JsonMapping], str | None]:
        self._log.find(run_id, owner)
        start = int(cursor or 0)
        rows: list[JsonMapping] = [
            {
                "index": i,
                "ok": i != 2,
                "output": {"label": "bug"} if i != 2 else None,
                "error": None if i != 2 else {"code": "output_invalid", "message": "no label"},
                "usage": {"input_tokens": 5, "output_tokens": 1, "cost": 0.0},
            }
            for i in range(5)
        ]
        page = rows[start : start + min(limit, 2)]
        return page, str(start + 2) if start + 2 < len(rows) else None

    async def calls(
        self,
        run_id: str,
        owner: str | None,
        task: str | None = None,
        cursor: str | None = None,
        limit: int = 1000,
        state: str | None = None,
    ) -> tuple[list[JsonMapping], str | None]:
        self._log.find(run_id, owner)
        return [], None

    async def logs(
        self, run_id: str, owner: str | None, task: str | None = None, stage: str | None = None
    ) -> list[JsonMapping]:
        self._log.find(run_id, owner)
        return []


class FakeScores:
    """Nothing is scored."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log

    async def recorded(
        self, run_id: str, owner: str | None, task: str, worst: int = 10, *, beside: bool = True
    ) -> ScoresWithVariants:
        self._log.find(run_id, owner)
        return {
            "task": task, "rows": 0, "failed": 0, "confidence": 0.95, "scores": [], "confusion": [], "worst": [],
        }  # fmt: skip

    async def score(self, query: ScoreQuery, **options: object) -> AnswersScored:
        return {"scores": await self.recorded(*query[:3]), "run": None, "left_out": {}}

    async def rows(self, query: ScoreQuery, **options: object) -> tuple[list[ScoredRow], None]:
        self._log.find(*query[:2])
        return [], None

    async def expected(self, run_id: str, owner: str | None, task: str, index: int) -> list[ExpectedAnswer]:
        self._log.find(run_id, owner)
        return []


class FakeInspection:
    """Nothing to look into."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log

    async def rows(self, run_id: str, owner: str | None, task: str, **query: object) -> JsonMapping:
        self._log.find(run_id, owner)
        return {"rows": [], "total": 0, "matching": 0, "next": None, "complete": True, "notes": []}

    async def row(self, run_id: str, owner: str | None, task: str, index: int) -> NoReturn:
        raise NotFound(f"run {self._log.find(run_id, owner)} has no row {index}")

    async def calls(self, run_id: str, owner: str | None, **query: object) -> JsonMapping:
        self._log.find(run_id, owner)
        return {"calls": [], "total": 0, "next": None, "notes": []}

    async def compare(self, run_id: str, owner: str | None, other: str, task: str, **query: object) -> NoReturn:
        raise NotFound(f"run {self._log.find(run_id, owner)} has no task {task}")

    async def call(self, run_id: str, owner: str | None, number: int) -> NoReturn:
        raise NotFound(f"run {self._log.find(run_id, owner)} has no call {number}")

    async def variants(self, run_id: str, owner: str | None, task: str) -> NoReturn:
        raise NotFound(f"run {self._log.find(run_id, owner)} has no task {task}")

    async def provenance(
        self, run_id: str, owner: str | None, task: str, row: int | None = None
    ) -> list[JsonMapping]:
        self._log.find(run_id, owner)
        return [
            {"index": i, "model": "fake", "prompt_hash": "ab12", "asked_at": "2026-11-26T12:00:00.000Z", "attempt": 1,
             "reused_from": None}
            for i in range(4)
        ]  # fmt: skip

    async def timeline(self, run_id: str, owner: str | None) -> JsonMapping:
        self._log.find(run_id, owner)
        return {"spans": [], "cut": False, "notes": []}

    async def spending(self, run_id: str, owner: str | None) -> JsonMapping:
        self._log.find(run_id, owner)
        return {"points": [], "total": {}, "by_task": {}, "by_model": {}, "budget": {}, "notes": []}


class FakeControl:
    """Changes of state, and nothing else."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log

    async def cancel(self, run_id: str, owner: str | None) -> RunView:
        run_id = self._log.find(run_id, owner)
        if self._log.views[run_id].state not in ENDED:
            self._log.emit(run_id, "run.cancelled", state="cancelled")
        return self._log.views[run_id]

    async def resume(
        self,
        run_id: str,
        owner: str | None,
        from_task: str | None = None,
        only_failed: bool = False,
        budget: Mapping[str, object] | None = None,
        *,
        rows: Mapping[str, Sequence[int]] | None = None,
        include_done: bool = False,
        code_allowed: bool = True,
    ) -> RunView:
        run_id = self._log.find(run_id, owner)
        if self._log.views[run_id].state not in ENDED:
            raise Conflict("it has not ended")
        self._log.emit(run_id, "run.resumed", state="pending")
        return self._log.views[run_id]

    async def restart(
        self,
        run_id: str,
        owner: str | None,
        task: str | None = None,
        *,
        only: bool = False,
        clear_usage: bool = False,
        code_allowed: bool = True,
    ) -> RunView:
        return await self.resume(run_id, owner)

    async def fork(
        self,
        run_id: str,
        owner: str | None,
        from_task: str,
        *,
        seed: object = None,
        pipeline: object = None,
        idempotency_key: str | None = None,
        code_allowed: bool = True,
    ) -> RunView:
        return self._log.view(run_id, owner)

    async def gate(
        self, run_id: str, owner: str | None, decision: str, note: str = "", *, task: str | None = None
    ) -> RunView:
        raise Conflict(f"run {self._log.find(run_id, owner)} waits at no gate")

    async def delete(self, run_id: str, owner: str | None) -> None:
        run_id = self._log.find(run_id, owner)
        if self._log.views[run_id].state not in ENDED:
            raise Conflict("it has not ended")
        del self._log.views[run_id]
        self._log.changes.publish("changed", run_id)

    async def requeue(
        self, run_id: str, owner: str | None, from_task: str | None = None, *, code_allowed: bool = True
    ) -> RunView:
        raise Conflict(f"run {self._log.find(run_id, owner)} is no dead letter")

    async def discard(self, run_id: str, owner: str | None) -> None:
        raise Conflict(f"run {self._log.find(run_id, owner)} is no dead letter")


class FakeReviews:
    """Every row's answer is "yes"."""

    def __init__(self, log: FakeLog) -> None:
        self.log = log
        self.kept: list[dict[str, Any]] = []

    async def record(
        self, run_id: str, owner: str | None, task: str, index: int, **review: Any
    ) -> tuple[JsonMapping, bool]:
        self.log.view(run_id, owner)
        self.kept.append({"task": task, "index": index, "by": owner, **review})
        return self.kept[-1], True

    async def page(
        self, run_id: str, owner: str | None, task: str, *, cursor: str | None = None, limit: int = 1000
    ) -> tuple[list[JsonMapping], str | None]:
        self.log.view(run_id, owner)
        return [review for review in self.kept if review["task"] == task], None


class FakeEnvironment:
    """One model, and no key."""

    async def list_keys(self) -> list[JsonMapping]:
        return []

    async def set_key(self, provider: str, key: str) -> JsonMapping:
        return {"provider": provider, "masked": "…"}

    async def remove_key(self, provider: str) -> None:
        raise NotFound(f"no key of {provider} is stored")

    async def models(self, *, word: str | None = None, provider: str | None = None) -> list[JsonMapping]:
        return [{"ref": "fake:echo", "usable": True}]


class FakeMaintenance:
    """Nothing to clean, nothing used."""

    async def clean(
        self,
        owner: str | None,
        *,
        dry_run: bool = False,
        older_than: float | None = None,
        states: Sequence[str] = (),
        cache: bool = False,
    ) -> JsonMapping:
        size = {"cache": {"answers": 0, "bytes": 0}} if cache else {}
        return {"runs": [], "bytes": 0, "returned": 0, "dry_run": dry_run, **size}

    async def usage(self, owner: str | None, *, days: int = 30) -> JsonMapping:
        return {"days": [], "total": {"calls": 0}, "disk": {"runs": {"bytes": 0, "states": {}}}}

    async def notifications(self) -> list[JsonMapping]:
        return []


class FakeMoves:
    """There is no hub here. `HandoversApi` and `ReceptionsApi`."""

    async def move(self, run_id: str, owner: str | None, to: str, group: str = "") -> RunView:
        raise Unavailable("no service of shared runs is known here")

    async def shared_runs(self, owner: str | None) -> tuple[str, str]:
        raise Unavailable("no service of shared runs is known here")

    async def check(self, body: Mapping[str, Any], owner: str) -> None:
        raise Forbidden("runs are handed over to the service of shared runs alone")

    async def receive(self, sha256: str, owner: str) -> Any:
        raise Forbidden("runs are handed over to the service of shared runs alone")

    async def accept(self, sha256: str, owner: str, *, may_decide: bool = True) -> RunView:
        raise Forbidden("runs are handed over to the service of shared runs alone")


class FakeDoctor:
    """All is well."""

    async def examine(self, *, online: bool = False) -> list[JsonMapping]:
        return [{"what": "store", "verdict": "ok", "found": "in memory", "todo": ""}]


class FakeWaits:
    """Nobody waits."""

    async def report(self, owner: str | None) -> JsonMapping:
        return {"calls": [], "store": [], "queue": [], "others": 0, "rates": {}}


class FakeWorkers:
    """One server, which has nothing to do."""

    async def report(self) -> JsonMapping:
        queue = {"running": 0, "queued": 0, "priorities": {}, "oldest": None}
        return {"nodes": [], "queue": queue, "broker": None}

    async def drain(self, node: str) -> None:
        raise Conflict("one server has this store alone")


class FakeMonitoring:
    async def metrics(self) -> bytes:
        return b"# no metrics\n"

    async def probe(self) -> ProbeReport:
        return ProbeReport(True, None)


class FakeOrchestrator:
    """`metadata.steps` of the pipeline's definition, when given, is how many ticks of 20 ms a run takes;
    without it a run stays pending until something is asked of it."""

    max_running: int | None = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.changes = FakeChanges()
        self.log = FakeLog(self.changes)
        self.submissions = FakeSubmissions(self.log)
        self.runs = FakeRuns(self.log)
        self.results = FakeResults(self.log)
        self.inspection = FakeInspection(self.log)
        self.scores = FakeScores(self.log)
        self.control = FakeControl(self.log)
        self.reviews = FakeReviews(self.log)
        self.pipelines = FakePipelines(self.log)
        self.schedules = FakeSchedules()
        self.environment = FakeEnvironment()
        self.maintenance = FakeMaintenance()
        self.monitoring = FakeMonitoring()
        self.doctor = FakeDoctor()
        self.waits = FakeWaits()
        self.handovers = self.receptions = FakeMoves()

        self.workers = FakeWorkers()

    async def start(self) -> OrchestratorApi:
        return self

    async def stop(self) -> None:
        for task in self.log.tasks:
            task.cancel()

    def meta(self) -> JsonMapping:
        return {
            "version": "0",
            "orchestrator": {"holder": True},
            "data_dir": str(self.settings.data_dir),
            "subscriptions": len(self.changes.open),
        }

    def ready(self) -> ReadinessReport:
        return {"ready": True, "orchestrator": True, "store": "memory"}

    def live_runs(self) -> int:
        return sum(view.state not in ENDED for view in self.log.views.values())


FACTORY: OrchestratorFactory = FakeOrchestrator
