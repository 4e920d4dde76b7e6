"""The reading half of the orchestrator: finding runs and showing what is in them."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import contextvars
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from po_jupyter.config import Settings
from po_jupyter.errors import Conflict, InvalidInput, NotFound
from po_jupyter.model.run.events import EventRecord
from po_jupyter.model.run.view import RunView
from po_jupyter.orchestrator.dispatch.follower import Following
from po_jupyter.orchestrator.views import artifacts
from po_jupyter.orchestrator.views import stage_logs as log_files
from po_jupyter.orchestrator.views.projections import Views
from po_jupyter.orchestrator.workers.supervisor import Supervisor
from po_jupyter.store.protocol import Head, Store

T = TypeVar("T")
P = ParamSpec("P")
_ID = re.compile(r"[0-9a-f]{22}")
_NEWEST = 1000  # runs among which a suffix of an id is looked for


class Reader:
    """Answers questions about runs. `owner` None sees everybody's; somebody else's run is NotFound."""

    settings: Settings
    _store: Store
    _views: Views
    _supervisor: Supervisor | None
    _following: Following | None

    _threads: ThreadPoolExecutor

    async def _do(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do blocking work in a thread (P9)."""
        # In this context, so that a log line of the thread names the request.
        call = partial(contextvars.copy_context().run, partial(work, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def find(self, run_id: str, owner: str | None) -> Head:
        """The head of a run by its id, or by a unique suffix of at least 4 characters among the newest 1,000
        runs.

        NotFound also for somebody else's run.
        """
        return await self._do(self._find, run_id, owner)

    def _find(self, run_id: str, owner: str | None) -> Head:
        missing = NotFound(f"there is no run {run_id!r:.60}", hint="`po runs` lists yours.")
        if _ID.fullmatch(run_id):
            head = self._store.head(run_id)
            if owner is not None and head["owner"] != owner:
                raise missing
            return head
        if not re.fullmatch(r"[0-9a-f]{4,21}", run_id):
            raise missing
        found: list[Head] = []
        cursor, seen = None, 0
        while seen < _NEWEST:
            page = self._store.runs(owner=owner, cursor=cursor, limit=200)
            found += [h for h in page.heads if h["run"].endswith(run_id)]
            seen += len(page.heads)
            cursor = page.next
            if cursor is None:
                break
        if len(found) > 1:
            raise Conflict(f"{len(found)} runs end with {run_id}", hint="Give more of the id.")
        if not found:
            raise missing
        return found[0]

    async def get(self, run_id: str, owner: str | None, *, whole_seed: bool = True) -> RunView:
        """The run. With `whole_seed` false a seed of more than 32 KB comes without its data, as in lists."""
        return await self._view(await self.find(run_id, owner), whole_seed=whole_seed)

    async def _view(self, head: Head, *, whole_seed: bool = True) -> RunView:
        return await self._do(
            self._views.view, head, position=self._position(head["run"]), waiting=self._held(head["run"]),
            whole_seed=whole_seed,
        )  # fmt: skip

    def _position(self, run: str) -> int | None:
        if self._supervisor is not None:
            return self._supervisor.queue.position(run)
        return self._following.load["positions"].get(run) if self._following is not None else None

    def _held(self, run: str) -> str | None:
        if self._supervisor is not None:
            return self._supervisor.store_backoff.reason(run)
        return self._following.load["held"].get(run) if self._following is not None else None

    async def list(
        self,
        owner: str | None,
        states: Sequence[str] = (),
        pipeline: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[builtins.list[RunView], str | None]:
        """A page of runs, newest first, and the cursor of the next one."""

        def read() -> tuple[builtins.list[RunView], str | None]:
            page = self._store.runs(
                owner=owner, states=states, pipeline=pipeline, cursor=cursor, limit=max(1, min(limit, 1000))
            )
            views = []
            for head in page.heads:
                with contextlib.suppress(NotFound):  # deleted since
                    run = head["run"]
                    views.append(self._views.view(head, position=self._position(run), waiting=self._held(run)))
            return views, page.next

        return await self._do(read)

    async def events(
        self, run_id: str, owner: str | None, since: int = 0, limit: int = 1000
    ) -> builtins.list[EventRecord]:
        """Events after offset `since`."""
        head = await self.find(run_id, owner)
        return await self._do(self._store.events, head["run"], since=since, limit=limit)

    async def outputs(self, run_id: str, owner: str | None, task: str | None = None) -> dict[str, Any]:
        """Outputs of the finished tasks (or of one), by name."""
        head = await self.find(run_id, owner)
        return await self._do(self._views.outputs, head, task)

    async def artifacts(self, run_id: str, owner: str | None) -> builtins.list[dict[str, Any]]:
        """The run's artifacts: `{name, task, bytes, sha256, path}` each, by name."""
        head = await self.find(run_id, owner)
        directory = self.settings.data_dir / "runs" / head["run"]
        return await self._do(lambda: artifacts.listed(directory, self._views.state(head)))

    async def artifact(self, run_id: str, owner: str | None, name: str) -> bytes:
        """The content of an artifact. NotFound; InvalidInput for one larger than `max_request_bytes`."""
        head = await self.find(run_id, owner)
        directory, limit = self.settings.data_dir / "runs" / head["run"], self.settings.max_request_bytes
        return await self._do(lambda: artifacts.content(directory, self._views.state(head), name, limit=limit))

    async def items(
        self,
        run_id: str,
        owner: str | None,
        task: str,
        state: str | None = None,
        cursor: str | None = None,
        limit: int = 1000,
    ) -> tuple[builtins.list[dict[str, Any]], str | None]:
        """Rows of a map in order, `{index, ok, output, error, usage, reused}`, and the cursor of the next page."""
        head = await self.find(run_id, owner)
        start = _number(cursor)
        rows, after = await self._do(self._views.items, head, task, state, start=start, limit=limit)
        return rows, None if after is None else str(after)

    async def logs(
        self, run_id: str, owner: str | None, task: str | None = None, stage: str | None = None
    ) -> builtins.list[dict[str, Any]]:
        """What the stages of the run printed and logged, `{task, stage, name, bytes, text, cut}`."""
        head = await self.find(run_id, owner)
        return await self._do(lambda: log_files.logs(self._run_dir(head), self._views.state(head), task, stage))

    def _run_dir(self, head: Head) -> Path:
        return self.settings.data_dir / "runs" / head["run"]

    async def calls(
        self,
        run_id: str,
        owner: str | None,
        task: str | None = None,
        cursor: str | None = None,
        limit: int = 1000,
        state: str | None = None,
    ) -> tuple[builtins.list[dict[str, Any]], str | None]:
        """The journal of calls in order, without the answers; of those in one `state` (see `Views.calls`)."""
        head = await self.find(run_id, owner)
        start = _number(cursor)

        def read() -> builtins.list[dict[str, Any]]:
            found = []
            for i, call in enumerate(self._views.calls(head, task, state)):
                if i >= start:
                    found.append(call)
                if len(found) > limit:
                    break
            return found

        found = await self._do(read)
        return found[:limit], str(start + limit) if len(found) > limit else None


def _number(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isdecimal():
        raise InvalidInput("that is not a cursor of this list")
    return int(cursor)
