"""A client without an orchestrator, for what the command line alone promises."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

from po_jupyter.client import background_loop
from po_jupyter.client.async_client import TextDelta
from po_jupyter.errors import NotFound, Unavailable
from po_jupyter.model.run.view import RunView
from tests.support.runs import run_view

RUN_ID = "0192f0c3a1b2" + "deadbe7f3a"


def make_view(state: str = "done", **changes: Any) -> RunView:
    """A run of two tasks, the second a map with a failed row, and with `changes`."""
    usage = {"input_tokens": 18_000, "output_tokens": 200, "cost": 0.043, "calls": 5}
    extract = {
        "name": "extract", "state": "done", "kind": "python", "attempt": 1,
        "started_at": "2026-11-22T12:00:00.000Z", "ended_at": "2026-11-22T12:00:12.100Z",
    }  # fmt: skip
    label = {
        "name": "label", "state": state if state in ("done", "failed", "running") else "pending", "attempt": 1,
        "started_at": "2026-11-22T12:00:12.100Z", "ended_at": "2026-11-22T12:00:41.000Z",
        "items": {"total": 4, "done": 3, "failed": 1, "in_flight": 0}, "usage": usage,
    }  # fmt: skip
    base: dict[str, Any] = {"id": RUN_ID, "state": state, "tasks": [extract, label], "usage": usage}
    return run_view(**{**base, "updated_at": "2026-11-22T12:00:41.500Z", **changes})


class FakeRun:
    def __init__(self, updates: list[Any]) -> None:
        self.updates = updates
        self.view: RunView = next(u for u in updates if isinstance(u, RunView))
        self.id = self.view.id
        self.short = self.view.id[-6:]
        self.outputs: dict[str, Any] = {
            "label": [{"index": 0, "ok": True, "output": {"label": "bug"}, "error": None}]
        }
        self.asked: list[tuple[str, Any]] = []
        self.failed_rows: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []

    def follow(self) -> Iterator[RunView | TextDelta]:
        for update in self.updates:
            if isinstance(update, BaseException):
                raise update
            if isinstance(update, RunView):
                self.view = update
            yield update

    def items(self, task: str, state: str | None = None) -> list[dict[str, Any]]:
        self.asked.append(("items", (task, state)))
        return self.failed_rows

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        return [e for e in self.history if e["offset"] > since]

    def logs(self, task: str | None = None, stage: str | None = None) -> list[dict[str, Any]]:
        self.asked.append(("logs", (task, stage)))
        text = "hello \x1b[2Jthere\n"
        return [
            {
                "task": task,
                "stage": "inference",
                "name": "inference.log",
                "bytes": 99_999,
                "text": text,
                "cut": True,
            }
        ]

    def cancel(self) -> None:
        self.asked.append(("cancel", None))

    def resume(self, **options: Any) -> None:
        self.asked.append(("resume", options))

    def restart(self, task: str | None = None, **options: Any) -> None:
        self.asked.append(("restart", (task, options)))

    def fork(self, from_task: str, **options: Any) -> FakeRun:
        self.asked.append(("fork", (from_task, options)))
        return self

    def approve(self, note: str = "", *, task: str | None = None) -> None:
        self.asked.append(("approve", note, task))

    def reject(self, note: str = "", *, task: str | None = None) -> None:
        self.asked.append(("reject", note, task))


ESTIMATE: dict[str, Any] = {
    "estimated": True, "pipeline": "tickets", "calls": 3, "input_tokens": 120, "output_tokens_max": 300,
    "cost": {"expected": None, "worst": 0.25}, "budget": {}, "unknown": ["the price of x"],
    "tasks": [{"name": "label", "kind": "prompt", "model": "m", "rows": 3, "calls": 3, "calls_max": 9,
               "input_tokens": 120, "output_tokens_max": 300, "cost": {"expected": None, "worst": 0.25}}],
}  # fmt: skip


def fake_run(*updates: Any) -> FakeRun:
    """A run that shows these views and texts, and raises these errors, one after another."""
    return FakeRun(list(updates))


class FakeClient:
    url = "http://127.0.0.1:1/"
    notes = ()
    found_because = "it holds the store of /data"

    def __init__(self) -> None:
        self.runs_there: list[FakeRun] = []
        self.started: list[bool] = []
        self.submitted: list[tuple[Any, Any, dict[str, Any]]] = []
        self.letters: list[dict[str, Any]] = []
        self.running = True
        self.aio = self

    def connect(self, *, start: bool) -> FakeClient:
        self.started.append(start)
        if not self.running and not start:
            raise Unavailable("no orchestrator is running", hint="`po start` starts an orchestrator")
        return self

    def call(self, coro: Coroutine[Any, Any, Any], timeout: float | None = None) -> Any:
        return background_loop.run(coro, timeout)

    def keys(self) -> list[dict[str, Any]]:
        return []

    def run(self, run_id: str) -> FakeRun:
        for run in self.runs_there:
            if run.id.endswith(run_id):
                return run
        raise NotFound(f"there is no run {run_id!r}", hint="`po runs` lists them.")

    def runs(self, state: Any = None, pipeline: str | None = None, limit: int = 50) -> list[FakeRun]:
        return [r for r in self.runs_there if not state or r.view.state in state][:limit]

    async def pipeline(self, name: str) -> dict[str, Any]:
        if name == "tickets":
            return {
                "name": "tickets",
                "tasks": [{"name": "label", "prompt": "x"}],
                "revision": "abc",
                "updated_at": "now",
            }
        raise NotFound(f"there is no pipeline {name!r}")

    def pipelines(self) -> list[dict[str, Any]]:
        return [{"name": "tickets", "version": "1.0.0", "revision": "abcdef123456789", "tasks": ["label"]}]

    def models(self, word: str | None = None, provider: str | None = None) -> list[dict[str, Any]]:
        from po_jupyter.llm.providers.catalogue import list_models

        return list_models({"OPENAI_API_KEY": "sk-x"}, word=word, provider=provider)

    def estimate(
        self, pipeline: Any, seed: Any = None, *, limit: int | None = None, model: str | None = None
    ) -> dict[str, Any]:
        self.estimated = (pipeline.name, seed, limit)
        return ESTIMATE

    def submit(self, pipeline: Any, seed: Any = None, **options: Any) -> FakeRun:
        self.submitted.append((pipeline, seed, options))
        return self.runs_there[0]

    def usage(self, days: int = 30) -> dict[str, Any]:
        used = {"calls": 1012, "input_tokens": 402_118, "output_tokens": 204, "unknown": 0}
        total = {**used, "cost": 1.2, "unpriced": 3}
        by_model = {"openai:gpt-5-mini": {**used, "cost": 1.2, "unpriced": 0}}
        disk = {"runs": {"bytes": 0, "states": {}}}
        owners = {"ada": {"total": total}, "bob": {"total": total}}
        return {
            "days": [{"day": "2026-11-22", **total, "by_model": by_model}],
            "total": total,
            "disk": disk,
        } | ({"owners": owners} if days == 7 else {})

    def dead_letters(self, limit: int = 50) -> list[dict[str, Any]]:
        return self.letters[:limit]

    def requeue(self, run_id: str, from_task: str | None = None) -> FakeRun:
        run = self.run(run_id)
        run.asked.append(("requeue", from_task))
        return run

    def discard(self, run_id: str) -> None:
        self.run(run_id).asked.append(("discard", None))

    channels: list[dict[str, object]] = []  # noqa: RUF012 - a test sets its own

    def notifications(self) -> list[dict[str, object]]:
        return self.channels

    def meta(self) -> dict[str, Any]:
        return {
            "version": "0.1.0",
            "orchestrator": {"holder": True, "pid": 7},
            "data_dir": "/data",
            "providers": ["local"],
        }

    def doctor(self, *, online: bool = False) -> list[dict[str, Any]]:
        return [{"what": "store", "verdict": "ok", "found": "it opens", "todo": ""}]

    def ready(self) -> dict[str, Any]:
        return {"ready": True, "orchestrator": True, "store": "ok"}

    def validate(self, pipeline: Any, seed: Any = None) -> dict[str, Any]:
        return {"ok": True, "pipeline": {}, "warnings": ["be careful"]}
