"""An orchestrator's client in memory: what the widget and the magics see, moved on by the test."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from po_jupyter.client import background_loop as loop
from po_jupyter.client.async_client import Endpoint, TextDelta
from po_jupyter.client.client import Client
from po_jupyter.errors import NotFound, Unavailable
from po_jupyter.model.run.view import ENDED, RunView, TaskView
from tests.support.runs import run_view


def classifying(**changes: Any) -> RunView:
    """A run whose one task is asking a model, and with `changes`."""
    task = TaskView(name="classify", state="running", stage="inference")
    return run_view(**{"tasks": (task,), **changes})


class FakeAio:
    """The methods of `AsyncClient` that views use; `push` from any thread moves the run on."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self.calls: list[Any] = []
        self.followers = 0
        self.refuse: Exception | None = None
        self.outputs_of: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.endpoint = Endpoint("http://127.0.0.1:1")
        self.bodies: list[dict[str, Any]] = []
        self.registered: dict[str, Any] = {}
        self._queues: list[asyncio.Queue[Any]] = []
        self.following = threading.Event()

    def push(self, update: RunView | TextDelta | Exception) -> None:
        async def put() -> None:
            if isinstance(update, RunView):
                self.view = update
            for queue in self._queues:
                queue.put_nowait(update)

        loop.run(put(), 5)

    def say(self, text: str, task: str = "classify", item: int | None = None) -> None:
        self.push(TextDelta(self.view.id, task, item, text, 0))

    async def follow(self, run_id: str, *, since: int | None = None, every: float = 0.1) -> AsyncIterator[Any]:
        if self.refuse is not None:
            raise self.refuse
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._queues.append(queue)
        self.followers += 1
        self.following.set()
        try:
            yield self.view
            while self.view.state not in ENDED:
                update = await queue.get()
                if isinstance(update, Exception):
                    raise update
                yield update
        finally:
            self.followers -= 1
            self._queues.remove(queue)

    async def run(self, run_id: str, *, quiet: bool = False) -> RunView:
        if run_id != self.view.id and not self.view.id.endswith(run_id):
            raise NotFound(f"there is no run {run_id}")
        return self.view

    async def runs(self, **how: Any) -> tuple[list[RunView], str | None]:
        self.calls.append(("runs", how))
        return [self.view], None

    async def estimate(self, body: dict[str, Any]) -> dict[str, Any]:
        self.estimated = body
        cost = {"expected": 0.1, "worst": 0.25}
        return {
            "estimated": True, "pipeline": "p", "calls": 3, "input_tokens": 9, "output_tokens_max": 9,
            "cost": cost, "unknown": [], "tasks": [{"name": "hello", "calls": None}],
        }  # fmt: skip

    async def submit(self, body: dict[str, Any]) -> RunView:
        if self.refuse is not None:
            raise self.refuse
        self.bodies.append(body)
        return self.view

    async def validate(self, pipeline: Any, seed: Any = None) -> dict[str, Any]:
        if self.refuse is not None:
            raise self.refuse
        return {"ok": True}

    async def put_pipeline(self, name: str, definition: dict[str, Any]) -> dict[str, Any]:
        self.registered[name] = definition
        return definition

    async def pipelines(self) -> list[dict[str, Any]]:
        return [{"name": name} for name in self.registered]

    async def pipeline(self, name: str) -> dict[str, Any]:
        if name not in self.registered:
            raise NotFound(f"there is no pipeline {name}")
        return {**self.registered[name], "revision": "abc"}

    async def aclose(self) -> None:
        pass

    def client(self) -> Client:
        client = Client(self.endpoint)
        client._bound = (loop.get_loop(), self)
        return client

    async def outputs(self, run_id: str, task: str | None = None) -> dict[str, Any]:
        return self.outputs_of

    async def items(self, run_id: str, task: str, **how: Any) -> tuple[list[dict[str, Any]], str | None]:
        wanted = how.get("state")
        rows = [r for r in self.rows if wanted is None or r["ok"] == (wanted == "done")]
        return rows[: how.get("limit", 1000)], None

    async def _control(self, *what: Any, state: str) -> RunView:
        self.calls.append(what)
        if self.refuse is not None:
            raise self.refuse
        self.view = self.view.model_copy(update={"state": state})
        return self.view

    async def cancel(self, run_id: str) -> RunView:
        return await self._control("cancel", state=self.view.state)

    async def resume(self, run_id: str, **how: Any) -> RunView:
        return await self._control("resume", how, state="running")

    async def gate(self, run_id: str, decision: str, note: str = "", *, task: str | None = None) -> RunView:
        return await self._control("gate", decision, note, task, state="running")


class Notebook:
    """Cells in, what they show out."""

    def __init__(self, shell: InteractiveShell, aio: FakeAio) -> None:
        self.shell = shell
        self.aio = aio
        self.started = 0
        self.reachable = True

    def connect(self, *, start: bool = True) -> Any:
        self.started += start
        if not self.reachable:
            raise Unavailable("no orchestrator is running", hint="`po start` starts one.")
        return self.aio.client()

    def cell(self, text: str) -> tuple[str, Any]:
        """What the cell printed and displayed as text, and its value. Raises what the cell raised."""
        with capture_output() as captured:
            result = self.shell.run_cell(text, store_history=False)
        if result.error_in_exec is not None:
            raise result.error_in_exec
        shown = [str(o.data.get("text/plain")) for o in captured.outputs if o.data]
        return "\n".join([captured.stdout, *shown]), result.result

    def error(self, text: str) -> str:
        """How the cell fails, as its box says it: no traceback of ours."""
        with capture_output() as captured:
            result = self.shell.run_cell(text, store_history=False)
        assert result.error_in_exec is not None, captured.stdout
        box = re.sub(r"\x1b\[[0-9;]*m", "", captured.stdout)
        assert "Traceback" not in box
        assert str(result.error_in_exec) in box
        return str(result.error_in_exec)


def run_later(action: Callable[[], object]) -> None:
    threading.Timer(0.3, action).start()
