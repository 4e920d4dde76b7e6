"""The client that people hold: plain calls that block, over the async one on the background loop."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from po_jupyter.client import loop
from po_jupyter.client.aio import AsyncClient, Endpoint, Text
from po_jupyter.client.seeds import seed_of
from po_jupyter.client.sse import Message
from po_jupyter.errors import InvalidInput, InvalidPipeline, PoError, from_json
from po_jupyter.model.pipeline import Budget, Pipeline
from po_jupyter.model.run import ENDED, RunView
from po_jupyter.model.usage import Usage
from po_jupyter.model.violations import did_you_mean

T = TypeVar("T")
_FRESH = 0.5  # seconds that a view is believed before it is asked for again
_NAME = re.compile(r"[a-z0-9-]+")


class Client:
    """An orchestrator. `connect()` finds or starts one.

    Safe to use from any thread, from a notebook's cells and after a fork. Raises the errors of
    `po_jupyter.errors`; `Unavailable` when nothing answers.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout: float = 30.0,
        relocate: Callable[[], Endpoint | None] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._relocate = relocate
        self._bound: tuple[object, AsyncClient] | None = None
        self.notes = notes  # what discovery wants a person to know

    def __repr__(self) -> str:
        return f"<po_jupyter client of {self.url}>"

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return self.aio.endpoint.url

    @property
    def aio(self) -> AsyncClient:
        """The async client, for use on the background loop only (`client.loop.spawn`)."""
        current = loop.get_loop()
        if self._bound is None or self._bound[0] is not current:  # at first, and in the child of a fork
            aio = AsyncClient(self._endpoint, timeout=self._timeout, relocate=self._relocate)
            self._bound = (current, aio)
        return self._bound[1]

    def close(self) -> None:
        """Close the connections. The orchestrator and its runs go on."""
        if self._bound is not None and self._bound[0] is loop.get_loop():
            loop.run(self._bound[1].aclose(), 5)
        self._bound = None

    def _call(self, coro: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        return loop.run(coro, timeout)

    # -- the orchestrator -----------------------------------------------------------------------
    def health(self) -> dict[str, Any]:
        """`{"status": "ok"}`, or Unavailable."""
        return self._call(self.aio.health())

    def ready(self) -> dict[str, Any]:
        """`{ready, orchestrator, store}`."""
        return self._call(self.aio.ready())

    def meta(self) -> dict[str, Any]:
        """Version, user, data directory, limits and providers of the orchestrator."""
        return self._call(self.aio.meta())

    # -- pipelines ------------------------------------------------------------------------------
    def validate(self, pipeline: Pipeline | Mapping[str, Any] | str, seed: Any = None) -> dict[str, Any]:
        """Check a pipeline (and a seed) with all that the orchestrator knows; starts nothing.

        Raises InvalidPipeline or InvalidSeed with every violation.
        """
        given = _pipeline_body(pipeline)
        envelope = None if seed is None else seed_of(seed, _name_of(given)).model_dump(mode="json")
        return self._call(self.aio.validate(given, envelope))

    def register(self, pipeline: Pipeline | Mapping[str, Any] | str) -> dict[str, Any]:
        """Keep the definition under its name, so that runs can be started by name."""
        given = _pipeline_body(pipeline)
        if isinstance(given, str):
            raise InvalidInput(f"{given!r} is a name, not a definition")
        return self._call(self.aio.put_pipeline(_name_of(given), given))

    def pipelines(self) -> list[dict[str, Any]]:
        """The registered pipelines."""
        return self._call(self.aio.pipelines())

    # -- runs -----------------------------------------------------------------------------------
    def submit(
        self,
        pipeline: Pipeline | Mapping[str, Any] | str,
        seed: Any = None,
        *,
        idempotency_key: str | None = None,
        limit: int | None = None,
        fresh: bool = False,
        budget: float | Budget | Mapping[str, Any] | None = None,
        interpreter: str | None = None,
        cwd: str | None = None,
        priority: int | None = None,
    ) -> Run:
        """Start a run and return at once; by then it is durable and goes on without this process.

        `pipeline` is a `Pipeline`, its dict, YAML text or the name of a registered one. `seed` is the
        data: a dict, a list of rows, a DataFrame, or a whole `Seed`. `limit` runs only the first rows of maps;
        `fresh` ignores the cache; `budget` is US dollars or a `Budget`. Python tasks run with `interpreter` in
        `cwd`; by default this process's own when the orchestrator is on this machine.
        The same `idempotency_key` with the same content gives the same run; with another one it is a Conflict.
        """
        given = _pipeline_body(pipeline)
        body: dict[str, Any] = {
            "pipeline": given,
            "seed": seed_of(seed, _name_of(given)).model_dump(mode="json", exclude_none=True),
        }
        if interpreter is None and self.aio.endpoint.is_local and _has_code(given):
            interpreter = sys.executable
            cwd = cwd or os.getcwd()
        options = {k: v for k, v in {"limit": limit, "fresh": fresh or None}.items() if v is not None}
        extras = {
            "idempotency_key": idempotency_key,
            "budget": _budget_body(budget),
            "interpreter": interpreter,
            "cwd": cwd,
            "priority": priority,
            "options": options or None,
        }
        body.update({k: v for k, v in extras.items() if v is not None})
        return Run(self, self._call(self.aio.submit(body)))

    def run(self, run_id: str) -> Run:
        """A run by its id, or a unique part of it such as the six characters that people see. NotFound."""
        return Run(self, self._call(self.aio.run(run_id)))

    def runs(
        self,
        state: str | list[str] | tuple[str, ...] | None = None,
        pipeline: str | None = None,
        limit: int = 50,
    ) -> list[Run]:
        """The newest runs first, at most `limit`."""
        states = [state] if isinstance(state, str) else list(state or ())
        views = self._call(self._runs(states, pipeline, limit))
        return [Run(self, view) for view in views]

    async def _runs(self, states: list[str], pipeline: str | None, limit: int) -> list[RunView]:
        views: list[RunView] = []
        cursor: str | None = None
        while len(views) < limit:
            page, cursor = await self.aio.runs(
                states=states, pipeline=pipeline, cursor=cursor, limit=min(200, limit - len(views))
            )
            views += page
            if cursor is None:
                break
        return views[:limit]


class Run:
    """One run. Its properties ask the orchestrator; nothing here has to stay alive for the run to go on.

    `run.wait()` blocks and `await run` waits on any event loop; interrupting either detaches, it does not cancel.
    """

    def __init__(self, client: Client, view: RunView) -> None:
        self._client = client
        self._view = view
        self._seen = time.monotonic()
        self.outputs: Mapping[str, Any] = Outputs(self)

    def __repr__(self) -> str:
        return f"<run {self.short} of {self._view.pipeline} {self._view.version}: {self._view.state}>"

    @property
    def client(self) -> Client:
        """Whose run it is."""
        return self._client

    @property
    def id(self) -> str:
        """22 hex digits that sort by time."""
        return self._view.id

    @property
    def short(self) -> str:
        """The last six characters of the id: what people see and type."""
        return self._view.id[-6:]

    @property
    def view(self) -> RunView:
        """Everything about the run, at most half a second old."""
        if time.monotonic() - self._seen > _FRESH:
            self.refresh()
        return self._view

    def refresh(self) -> RunView:
        """The run as it is now."""
        return self._take(self._client._call(self._client.aio.run(self.id, quiet=True)))

    def _take(self, view: RunView) -> RunView:
        self._view, self._seen = view, time.monotonic()
        return view

    @property
    def state(self) -> str:
        """`pending`, `running`, `waiting`, `done`, `failed`, `cancelled` or `dead`."""
        return self.view.state

    @property
    def usage(self) -> Usage:
        """Tokens, calls and cost so far."""
        return self.view.usage

    @property
    def error(self) -> PoError | None:
        """Why the run failed, or None."""
        return from_json(self.view.error) if self.view.error else None

    def raise_for_error(self) -> Run:
        """Raise the run's error if it has one; the run otherwise."""
        error = self.error
        if error is not None:
            raise error
        return self

    # -- watching -------------------------------------------------------------------------------
    def events(self, since: int = 0) -> Iterator[dict[str, Any]]:
        """The events so far with an offset above `since`, in order."""
        while True:
            page = self._client._call(self._client.aio.history(self.id, since))
            yield from page
            if not page:
                return
            since = int(page[-1]["offset"])

    def follow(self) -> Iterator[RunView | Text]:
        """The run's view now and after each change, with texts in between, until it ended. Blocks between values."""
        for value in _iterate(self._client.aio.follow(self.id)):
            if isinstance(value, RunView):
                self._take(value)
            yield value

    def stream(self, since: int = 0) -> Iterator[Message]:
        """Every event above `since`, then `end`; resumes by itself after a lost connection. Blocks between values."""
        return _iterate(self._client.aio.events(self.id, since))

    def wait(self, timeout: float | None = None) -> Run:
        """Block until the run ended, however it ended.

        An interrupt detaches: KeyboardInterrupt is raised here, the run goes on. Raises TimeoutError after
        `timeout` seconds.
        """
        self._take(self._client._call(self._client.aio.wait_end(self.id), timeout))
        return self

    def __await__(self) -> Generator[Any, None, Run]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> Run:
        self._take(await loop.bring(loop.spawn(self._client.aio.wait_end(self.id))))
        return self

    # -- control --------------------------------------------------------------------------------
    def cancel(self) -> Run:
        """Ask the run to stop; what is finished is kept."""
        self._take(self._client._call(self._client.aio.cancel(self.id)))
        return self

    def resume(
        self,
        from_task: str | None = None,
        only_failed: bool = False,
        budget: float | Budget | Mapping[str, Any] | None = None,
    ) -> Run:
        """Go on with an ended run: what failed, everything from `from_task` on, or only the failed rows."""
        coro = self._client.aio.resume(
            self.id, from_task=from_task, only_failed=only_failed, budget=_budget_body(budget)
        )
        self._take(self._client._call(coro))
        return self

    def approve(self, note: str = "") -> Run:
        """Open the gate that the run waits at."""
        self._take(self._client._call(self._client.aio.gate(self.id, "approve", note)))
        return self

    def reject(self, note: str = "") -> Run:
        """Refuse at the gate: the run ends `cancelled`."""
        self._take(self._client._call(self._client.aio.gate(self.id, "reject", note)))
        return self

    def delete(self) -> None:
        """Remove the ended run with all that is its own."""
        self._client._call(self._client.aio.delete(self.id))

    # -- results --------------------------------------------------------------------------------
    def items(self, task: str, state: str | None = None) -> list[dict[str, Any]]:
        """Rows of a map so far, in order: `{index, ok, output, error, usage}`; `state` is `done` or `failed`."""
        return self._client._call(self._items(task, state))

    async def _items(self, task: str, state: str | None) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page, cursor = await self._client.aio.items(self.id, task, state=state, cursor=cursor)
            rows += page
            if cursor is None:
                return rows

    def frame(self, task: str) -> Any:
        """The rows of a map so far as a DataFrame indexed by row: the fields of an object output as columns, then
        `ok`, `error`, tokens and `cost`. Needs pandas."""
        try:
            import pandas as pd  # type: ignore[import-untyped]  # no stubs, and optional
        except ImportError:
            raise PoError("run.frame() needs pandas", hint="Install it here: %pip install pandas") from None
        rows = [_frame_row(row) for row in self.items(task)]
        return pd.DataFrame(rows, columns=None if rows else [*_TAIL]).set_index("index")


_TAIL = ("index", "ok", "error", "input_tokens", "output_tokens", "cost")


def _frame_row(row: Mapping[str, Any]) -> dict[str, Any]:
    output, error, usage = row.get("output"), row.get("error"), row.get("usage") or {}
    fields = dict(output) if isinstance(output, Mapping) else ({} if output is None else {"output": output})
    tail: dict[str, Any] = {
        "index": row["index"],
        "ok": row["ok"],
        "error": error.get("message") if isinstance(error, Mapping) else error,
        "input_tokens": usage.get("input_tokens", 0),
        "output_tokens": usage.get("output_tokens", 0),
        "cost": usage.get("cost"),
    }
    # An output field called like one of ours keeps its place under a name of its own.
    return {**{(f"output_{name}" if name in tail else name): value for name, value in fields.items()}, **tail}


class Outputs(Mapping[str, Any]):
    """Outputs of finished tasks by name, each fetched when it is first looked at."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._kept: dict[str, tuple[str | None, Any]] = {}  # with the end of the task that wrote it

    def __getitem__(self, name: str) -> Any:
        view = self._run.view
        task = next((t for t in view.tasks if t.name == name), None)
        if task is None:
            known = [t.name for t in view.tasks]
            raise KeyError(f"no task {name!r}{did_you_mean(name, known)} (tasks: {', '.join(known)})")
        if task.state != "done":
            raise KeyError(f"task {name!r} has no output yet: it is {task.state}, the run is {view.state}")
        kept = self._kept.get(name)
        if kept is None or kept[0] != task.ended_at:
            client = self._run.client
            found = client._call(client.aio.outputs(self._run.id, name))
            self._kept[name] = kept = (task.ended_at, found[name])
        return kept[1]

    def __iter__(self) -> Iterator[str]:
        return iter([task.name for task in self._run.view.tasks if task.state == "done"])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return f"<outputs of run {self._run.short}: {', '.join(self) or 'none yet'}>"


def _iterate(source: AsyncIterator[T]) -> Iterator[T]:
    async def step() -> T:
        return await anext(source)

    async def finish() -> None:
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()

    try:
        while True:
            try:
                value = loop.run(step())
            except StopAsyncIteration:
                return
            yield value
    finally:
        with suppress(Exception):
            loop.run(finish(), 5)


def _pipeline_body(pipeline: Pipeline | Mapping[str, Any] | str) -> dict[str, Any] | str:
    if isinstance(pipeline, Pipeline):
        return pipeline.to_json()
    if isinstance(pipeline, Mapping):
        return dict(pipeline)
    if isinstance(pipeline, str):
        if _NAME.fullmatch(pipeline.strip()):
            return pipeline.strip()
        from po_jupyter.model.reading import read_pipeline  # YAML is slow to import, and few need it here

        return read_pipeline(pipeline).to_json()
    raise InvalidPipeline(
        f"a pipeline is a Pipeline, a dict, YAML text or a registered name, not {type(pipeline).__name__}"
    )


def _name_of(pipeline: Mapping[str, Any] | str) -> str:
    name = pipeline if isinstance(pipeline, str) else pipeline.get("name")
    return name[:100] if isinstance(name, str) and name else "seed"


def _has_code(pipeline: Mapping[str, Any] | str) -> bool:
    if isinstance(pipeline, str):
        return False
    tasks = pipeline.get("tasks")
    return isinstance(tasks, list | tuple) and any(
        not isinstance(task, Mapping) or task.get("prompt") is None for task in tasks
    )


def _budget_body(budget: float | Budget | Mapping[str, Any] | None) -> dict[str, Any] | None:
    if budget is None:
        return None
    if isinstance(budget, Budget):
        return budget.model_dump(mode="json", exclude_none=True)
    if isinstance(budget, Mapping):
        return dict(budget)
    return {"usd": float(budget)}


__all__ = ["ENDED", "Client", "Outputs", "Run"]
