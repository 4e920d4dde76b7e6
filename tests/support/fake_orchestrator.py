"""An orchestrator in memory with the real one's methods: no store and no workers, runs move when told."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
import time
from typing import Any

from po_jupyter.errors import Conflict, Forbidden, InvalidSeed, NotFound
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.events import now
from po_jupyter.model.run.seed import read_seed
from po_jupyter.model.run.view import ENDED, RunView, TaskView


class Notes:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def get(self, timeout: float) -> tuple[str, Any] | None:  # noqa: ASYNC109 - the feed's
        try:
            return await asyncio.wait_for(self.queue.get(), timeout)
        except TimeoutError:
            return None


class Feed:
    def __init__(self) -> None:
        self.open: dict[Notes, str | None] = {}

    @contextlib.asynccontextmanager
    async def subscribe(self, run: str | None):
        notes = Notes()
        self.open[notes] = run
        try:
            yield notes
        finally:
            del self.open[notes]

    def tell(self, kind: str, what: Any) -> None:
        run = what if kind == "changed" else what["run"]
        for notes, wanted in self.open.items():
            if wanted in (None, run):
                notes.queue.put_nowait((kind, what))


class FakeOrchestrator:
    """`metadata.steps` of the pipeline's definition, when given, is how many ticks of 20 ms a run takes;
    without it a run stays pending until something is asked of it."""

    def __init__(self, settings: Any, store: Any = None) -> None:
        self.settings = settings
        self.feed = Feed()
        self.views: dict[str, RunView] = {}
        self.log: dict[str, list[dict[str, Any]]] = {}
        self.keys: dict[tuple[str, str], tuple[str, str]] = {}
        self.named: dict[str, dict[str, Any]] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()

    def meta(self) -> dict[str, Any]:
        return {
            "version": "0",
            "orchestrator": {"holder": True},
            "data_dir": str(self.settings.data_dir),
            "subscriptions": len(self.feed.open),
        }

    def ready(self) -> dict[str, Any]:
        return {"ready": True, "orchestrator": True, "store": "memory"}

    def live_runs(self) -> int:
        return sum(view.state not in ENDED for view in self.views.values())

    # -- pipelines
    async def models(self, *, word: str | None = None, provider: str | None = None) -> list[dict[str, Any]]:
        return [{"ref": "fake:echo", "usable": True}]

    async def list_pipelines(self, *, owner: str) -> list[dict[str, Any]]:
        return [{"name": name} for name in sorted(self.named)]

    async def put_pipeline(
        self, name: str, definition: dict[str, Any], *, owner: str
    ) -> tuple[dict[str, Any], bool]:
        created = name not in self.named
        self.named[name] = validate_pipeline(definition, name=name).to_json()
        return self.named[name], created

    async def get_pipeline(self, name: str, *, owner: str) -> dict[str, Any]:
        if name not in self.named:
            raise NotFound(f"no pipeline {name!r} is registered")
        return self.named[name]

    async def delete_pipeline(self, name: str, *, owner: str) -> None:
        await self.get_pipeline(name, owner=owner)
        del self.named[name]

    async def validate(self, body: dict[str, Any], *, owner: str) -> dict[str, Any]:
        return {"ok": True, "pipeline": validate_pipeline(body["pipeline"]).to_json(), "warnings": []}

    # -- files of rows
    async def receive_blob(self, digest: str, owner: str) -> Any:
        raise NotFound("no files here")

    async def blob(self, digest: str, owner: str) -> dict[str, Any]:
        raise NotFound("no files here")

    # -- runs
    async def submit(
        self, body: dict[str, Any], *, owner: str, code_allowed: bool = True
    ) -> tuple[RunView, bool]:
        given = body.get("pipeline")
        pipeline = validate_pipeline(self.named.get(given, given) if isinstance(given, str) else given)
        seed = read_seed(body["seed"])
        if not code_allowed and (body.get("interpreter") or any(t.source for t in pipeline.tasks)):
            raise Forbidden("Python needs the scope code:run")
        if seed.data.get("refuse"):
            raise InvalidSeed("refused")
        key = body.get("idempotency_key")
        digest = hashlib.sha256(json.dumps([given, body["seed"]], sort_keys=True).encode()).hexdigest()
        if key and (owner, key) in self.keys:
            run_id, before = self.keys[owner, key]
            if before != digest:
                raise Conflict("this idempotency key was used with another body")
            return self.views[run_id], False
        run_id = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(5)}"
        if key:
            self.keys[owner, key] = (run_id, digest)
        self.views[run_id] = RunView(
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
        self.log[run_id] = []
        self.emit(run_id, "run.created")
        if "steps" in pipeline.metadata:
            task = asyncio.create_task(self.play(run_id, int(pipeline.metadata["steps"])))
            self.tasks.add(task)
        return self.views[run_id], True

    def emit(self, run_id: str, kind: str, task: str | None = None, **view: Any) -> None:
        log = self.log[run_id]
        log.append({"offset": len(log) + 1, "at": now(), "type": kind, "run": run_id, "data": {}})
        if task:
            log[-1]["task"] = task
        before = self.views[run_id]
        self.views[run_id] = before.model_copy(update={"last_event": len(log), "updated_at": now(), **view})
        self.feed.tell("changed", run_id)

    async def play(self, run_id: str, steps: int) -> None:
        self.emit(run_id, "run.started", state="running")
        for _ in range(steps):
            await asyncio.sleep(0.02)
            if self.views[run_id].state in ENDED:
                return
            self.emit(run_id, "task.stage", self.views[run_id].tasks[0].name)
            self.feed.tell(
                "text",
                {"run": run_id, "task": self.views[run_id].tasks[0].name, "text": "wo\u2028rd", "round": 0},
            )
        done = tuple(
            t.model_copy(update={"state": "done", "ended_at": now()}) for t in self.views[run_id].tasks
        )
        self.emit(run_id, "run.done", state="done", tasks=done)

    def find(self, run_id: str, owner: str | None) -> str:
        for known, view in self.views.items():
            if (known == run_id or (len(run_id) >= 4 and known.endswith(run_id))) and owner in (
                None,
                view.owner,
            ):
                return known
        raise NotFound(f"there is no run {run_id!r}")

    async def get(self, run_id: str, owner: str | None, *, whole_seed: bool = True) -> RunView:
        return self.views[self.find(run_id, owner)]

    async def list(self, owner, states, pipeline, cursor, limit):
        found = [
            view
            for view in sorted(self.views.values(), key=lambda v: v.id, reverse=True)
            if owner in (None, view.owner)
            and (not states or view.state in states)
            and (pipeline is None or view.pipeline == pipeline)
            and (cursor is None or view.id < cursor)
        ]
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    async def delete(self, run_id: str, owner: str | None) -> None:
        run_id = self.find(run_id, owner)
        if self.views[run_id].state not in ENDED:
            raise Conflict("it has not ended")
        del self.views[run_id]
        self.feed.tell("changed", run_id)

    async def cancel(self, run_id: str, owner: str | None) -> RunView:
        run_id = self.find(run_id, owner)
        if self.views[run_id].state not in ENDED:
            self.emit(run_id, "run.cancelled", state="cancelled")
        return self.views[run_id]

    async def resume(
        self, run_id: str, owner: str | None, from_task=None, only_failed=False, budget=None, code_allowed=True
    ) -> RunView:
        run_id = self.find(run_id, owner)
        if self.views[run_id].state not in ENDED:
            raise Conflict("it has not ended")
        self.emit(run_id, "run.resumed", state="pending")
        return self.views[run_id]

    async def gate(self, run_id: str, owner: str | None, decision: str, note: str) -> RunView:
        raise Conflict(f"run {self.find(run_id, owner)} waits at no gate")

    async def restart(self, run_id: str, owner: str | None, task: str | None = None, **_: Any) -> RunView:
        return await self.resume(run_id, owner)

    async def fork(self, run_id: str, owner: str | None, from_task: str, **_: Any) -> RunView:
        return self.views[self.find(run_id, owner)]

    async def dead_letters(self, owner: str | None, *_: Any) -> tuple[list[dict[str, Any]], None]:
        return [], None

    async def requeue(
        self, run_id: str, owner: str | None, from_task: str | None = None, *, code_allowed: bool = True
    ) -> RunView:
        raise Conflict(f"run {self.find(run_id, owner)} is no dead letter")

    async def discard(self, run_id: str, owner: str | None) -> None:
        raise Conflict(f"run {self.find(run_id, owner)} is no dead letter")

    async def events(self, run_id: str, owner: str | None, since: int, limit: int) -> list[dict[str, Any]]:
        return self.log[self.find(run_id, owner)][since : since + limit]

    async def outputs(self, run_id: str, owner: str | None, task: str | None = None) -> dict[str, Any]:
        view = self.views[self.find(run_id, owner)]
        return {t.name: {"said": t.name} for t in view.tasks if t.state == "done" and task in (None, t.name)}

    async def artifacts(self, run_id: str, owner: str | None) -> list[dict[str, Any]]:
        self.find(run_id, owner)
        return []

    async def artifact(self, run_id: str, owner: str | None, name: str) -> bytes:
        self.find(run_id, owner)
        raise NotFound(f"there is no artifact {name!r}")

    async def items(self, run_id, owner, task, state=None, cursor=None, limit=1000):
        self.find(run_id, owner)
        start = int(cursor or 0)
        rows = [
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

    async def estimate(self, body: dict[str, Any], *, owner: str, code_allowed: bool = True) -> dict[str, Any]:
        validate_pipeline(body["pipeline"])
        cost = {"expected": None, "worst": 0.5}
        return {"estimated": True, "calls": 3, "cost": cost, "tasks": [], "unknown": []}

    async def logs(self, run_id: str, owner: str | None, task: Any = None, stage: Any = None) -> list[Any]:
        self.find(run_id, owner)
        return []

    async def calls(self, run_id, owner, task=None, cursor=None, limit=200, state=None):
        self.find(run_id, owner)
        return [], None

    async def usage(self, owner, *, days=30):
        return {"days": [], "total": {"calls": 0}, "disk": {"runs": {"bytes": 0, "states": {}}}}

    async def clean(self, owner, *, dry_run=False, cache=False, **_):
        gone = {"cache": {"answers": 0, "bytes": 0}} if cache else {}
        return {"runs": [], "bytes": 0, "returned": 0, "dry_run": dry_run, **gone}

    async def list_keys(self) -> list[dict[str, Any]]:
        return []

    async def set_key(self, provider: str, key: str) -> dict[str, Any]:
        return {"provider": provider, "masked": "…"}

    async def remove_key(self, provider: str) -> None:
        raise NotFound(f"no key of {provider} is stored")

    async def doctor(self, *, online: bool = False) -> list[dict[str, Any]]:
        return [{"what": "store", "verdict": "ok", "found": "in memory", "todo": ""}]
