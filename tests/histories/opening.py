"""The only place of these tests that knows where things are inside po_jupyter: when modules move, this file follows.

Everything else here talks to what is named below.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.errors import NotFound
from po_jupyter.model.run.row_file_ref import RowFileRef
from po_jupyter.model.values.chunked_json import json_chunks
from po_jupyter.orchestrator.service import Orchestrator, RunningOrchestrator
from po_jupyter.orchestrator.views import artifacts
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.disk.call_cache import AnswerCache
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.testing.model_server import ModelServer
from po_jupyter.testing.model_server.batch_shapes import FakeBatch
from po_jupyter.testing.model_server.batches import BatchServer
from po_jupyter.testing.model_server.wire import Reply, last_text

__all__ = ["BatchServer", "ModelServer", "Reply", "RunningOrchestrator", "last_text"]

ENDED = ("done", "failed", "cancelled", "dead")


def plain(value: Any) -> Any:
    """A value as it is in JSON; lists that are read from the store row by row become lists."""
    return json.loads("".join(json_chunks(value)))


class Opened:
    """A store that nobody works on, as the routes of a server would show it. Everything is plain JSON."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._store = DiskStore(data_dir / "store")
        self._views = RunProjections(self._store)

    def close(self) -> None:
        """Release the files."""
        self._store.close()

    def runs(self) -> list[str]:
        """Ids of all runs, newest first, read in pages."""
        found: list[str] = []
        cursor = None
        while True:
            page = self._store.runs(cursor=cursor, limit=4)
            found += [head["run"] for head in page.heads]
            cursor = page.next
            if cursor is None:
                return found

    def damage(self) -> list[str]:
        """Rows that cannot be read, one line each."""
        return self._store.verify()

    def view(self, run: str) -> dict[str, Any]:
        """What `GET runs/{id}` says."""
        view = self._views.view(self._store.head(run), whole_seed=True)
        return dict(view.model_dump(mode="json"))

    def folded(self, run: str) -> dict[str, Any]:
        """The whole state that decisions are made from."""
        state = dataclasses.asdict(self._views.state(self._store.head(run)))
        return dict(json.loads(json.dumps(state, default=lambda value: value.model_dump(mode="json"))))

    def outputs(self, run: str) -> dict[str, Any]:
        """What `GET runs/{id}/outputs` says."""
        return dict(plain(self._views.outputs(self._store.head(run))))

    def events(self, run: str) -> list[dict[str, Any]]:
        """The whole history, read in pages."""
        found: list[dict[str, Any]] = []
        while page := self._store.events(run, since=len(found), limit=7):
            found += page
        return found

    def calls(self, run: str) -> list[dict[str, Any]]:
        """The journal, without the answers."""
        return list(plain(list(self._views.calls(self._store.head(run)))))

    def answers(self, run: str) -> list[Any]:
        """Every recorded answer of a model, in the order of the journal."""
        found = []
        for record in self._store.records(run):
            values = self._store.payloads(run, record["n"])
            for call in record["calls"]:
                answer = call.get("answer")
                if call["kind"] == "response" and answer is not None:
                    n, index = (record["n"], answer) if isinstance(answer, int) else answer
                    found.append(values[index] if n == record["n"] else self._store.payloads(run, n)[index])
        return list(plain(found))

    def items(self, run: str) -> dict[str, list[dict[str, Any]]]:
        """The rows of each map that have an outcome."""
        found = {}
        for task in self.view(run)["tasks"]:
            if task["items"] is not None:
                rows, _ = self._views.items(self._store.head(run), task["name"])
                found[task["name"]] = plain(rows)
        return found

    def artifacts(self, run: str) -> list[dict[str, Any]]:
        """The files that tasks wrote, without the place where they are now; `text` is what is read from them."""
        folder, state = self._data_dir / "runs" / run, self._views.state(self._store.head(run))
        found = []
        for entry in artifacts.listed(folder, state):
            with artifacts.opened(folder, state, entry["name"]) as file:
                text = file.read().decode()
            found.append({**{k: v for k, v in entry.items() if k != "path"}, "text": text})
        return found

    def key_redeemed(self, owner: str, key: str) -> str | None:
        """The run that an idempotency key made."""
        found = self._store.redeemed(owner, key)
        return None if found is None else found[0]["run"]

    def cached_answers(self) -> int:
        """How many answers the cache of calls has."""
        cache = AnswerCache(self._data_dir / "cache", max_bytes=0)
        try:
            return int(cache.measure("")[0])
        finally:
            cache.close()


def settings(data_dir: Path, **more: Any) -> Settings:
    """Everything that waits waits less, and nothing is deleted: a recording is older than any bound in days."""
    wanted = {
        "data_dir": data_dir, "store_shards": 1, "heartbeat": 0.2, "lease_ttl": 1.0, "max_crashes": 2,
        "spawn_delay": 0.1, "retention_done": 0, "cache_days": 0,
        "batch_poll_min": 0.05, "batch_poll_max": 0.1, "batch_grace": 0.1,
    }  # fmt: skip
    return Settings(**{**wanted, **more})


@asynccontextmanager
async def orchestrator(data_dir: Path, **more: Any) -> AsyncIterator[RunningOrchestrator]:
    """A started one that holds the store; stopped at the end."""
    starting = Orchestrator(settings(data_dir, **more))
    try:
        service = await starting.start()
        async with service.changes.subscribe(None) as notes:
            # The one that was killed on another machine has its lease until it lapses.
            while not service.meta()["orchestrator"]["holder"]:
                await notes.get(0.05)
        yield service
    finally:
        await starting.stop()


async def until(
    service: RunningOrchestrator, run: str, states: Sequence[str] = ENDED, patience: float = 30.0
) -> dict[str, Any]:
    """The view of the run once it is in one of `states`. AssertionError that says where it stands."""
    view = await service.runs.get(run, None)
    async with service.changes.subscribe(run) as notes:
        for _ in range(int(patience / 0.2)):
            view = await service.runs.get(run, None)
            if view.state in states:
                return view.model_dump(mode="json")
            await notes.get(0.2)
    tasks = [(t.name, t.state, t.waiting) for t in view.tasks]
    raise AssertionError(f"run {run} is still {view.state}: {tasks} {view.error}")


async def put_rows(service: RunningOrchestrator, owner: str, lines: bytes) -> dict[str, Any]:
    """Send a file of rows; what stands for it in a seed."""
    digest = hashlib.sha256(lines).hexdigest()
    upload = await service.submissions.receive_rows(digest, owner)
    await upload.write(lines)
    kept = await upload.finish()
    return RowFileRef(digest, kept["rows"]).to_json()


def batch_of(server: BatchServer) -> list[dict[str, Any]]:
    """What a provider knows of the batches that it was given."""
    return [
        {"id": m.id, "vendor": m.vendor, "requests": [list(r) for r in m.requests]} for m in server.batches()
    ]


def remember(server: BatchServer, batches: Sequence[dict[str, Any]], key: str) -> None:
    """Make a new server the provider that was given these batches."""
    for known in batches:
        requests = [(custom_id, body) for custom_id, body in known["requests"]]
        batch = FakeBatch(known["id"], key, known["vendor"], requests, "/v1/messages")
        server._batches.append(batch)


async def registered(service: RunningOrchestrator, name: str, owner: str) -> dict[str, Any] | None:
    """A registered pipeline."""
    try:
        return await service.pipelines.get(name, owner=owner)
    except NotFound:
        return None
