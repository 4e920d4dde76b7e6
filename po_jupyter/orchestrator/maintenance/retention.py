"""Retention (G7): which ended runs are deleted, and how much room the others take. It blocks: call it in a thread.

Nothing that has not ended is ever deleted. What can be resumed (cancelled, failed, dead) stays unless days
were set for it, or a person names its state. So by default only finished runs go, after 30 days. A size limit
takes the oldest runs of the states that have days. With a run go its directory and the uploaded rows that no
other run uses.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import Conflict, CorruptRow, NotFound
from po_jupyter.model.run.view import ENDED
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.control.child_runs import child_tree, delete_child_runs
from po_jupyter.orchestrator.control.run_files import remove_run_files, run_directory
from po_jupyter.orchestrator.maintenance.shared_sweep import sweep_shared
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.objects.shared_files import SharedFiles
from po_jupyter.store.protocol import Head, Store
from po_jupyter.worker.call_cache import cache_directory

log = structlog.get_logger(__name__)

DAY = 86_400.0
_ORPHAN = 3600.0  # s; a directory without a run may be of a run that is being created
_BLOB = DAY  # s; rows are uploaded before the run that uses them is submitted
_ID = re.compile(r"[0-9a-f]{22}")
_SHA = re.compile(r"[0-9a-f]{64}")


class RetentionPolicy(NamedTuple):
    """Days by state, of the states that may be deleted; `max_bytes` of all runs together, 0: no limit."""

    days: Mapping[str, float]
    max_bytes: int = 0


class Deletion(NamedTuple):
    """A run to delete, and why: `age` or `size`."""

    run: str
    state: str
    name: str
    ended_at: str
    bytes: int
    why: str


def policy_of(settings: Settings) -> RetentionPolicy:
    """The policy of the settings."""
    days = {
        state: float(getattr(settings, f"retention_{state}", settings.retention_done))
        for state in sorted(ENDED)
    }
    return RetentionPolicy({state: d for state, d in days.items() if d > 0}, settings.retention_max_bytes)


class RunCleaner:
    """Cleans the runs of one data directory."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        projections: RunProjections,
        files: SharedFiles | None = None,
    ) -> None:
        """The usage of a run is counted by day before it is deleted. `files` are those that nodes share. `told` are
        child runs that were told to end, since nobody follows them: their run goes once they have."""
        self.told: list[str] = []
        self._files = files
        self._data_dir = settings.data_dir
        self._store = store
        self._projections = projections
        self._daily = DailyUsage(store)

    def plan(
        self, policy: RetentionPolicy, *, owner: str | None = None, at: float | None = None
    ) -> list[Deletion]:
        """The deletions that `policy` asks for, of `owner` (None: everybody's), oldest first. `at` is now, in seconds
        since 1970."""
        at = time.time() if at is None else at
        heads = sorted(self._ended(owner, policy.days), key=lambda h: h["updated_at"])
        deletions = [
            self._deletion(head, "age")
            for head in heads
            if at - seconds(head["updated_at"]) >= policy.days[head["state"]] * DAY
        ]
        if policy.max_bytes:
            too_much = self.used()["runs"]["bytes"] - sum(d.bytes for d in deletions) - policy.max_bytes
            gone = {d.run for d in deletions}
            for head in heads:
                if too_much <= 0:
                    break
                if head["run"] not in gone:
                    deletions.append(self._deletion(head, "size"))
                    too_much -= deletions[-1].bytes
        return deletions

    def _ended(self, owner: str | None, states: Mapping[str, float]) -> Iterator[Head]:
        cursor: str | None = None
        while states:
            page = self._store.runs(owner=owner, states=tuple(states), cursor=cursor, limit=200)
            yield from (head for head in page.heads if "damage" not in head)  # a person decides about those
            cursor = page.next
            if cursor is None:
                return

    def _deletion(self, head: Head, why: str) -> Deletion:
        return Deletion(
            head["run"], head["state"], head["name"], head["updated_at"], self.bytes_of(head["run"]), why
        )

    def bytes_of(self, run: str) -> int:
        """The bytes of a run and its child runs: their rows in the store and their directories."""
        return sum(self._bytes_alone(one) for one in (run, *self._children(run)))

    def _bytes_alone(self, run: str) -> int:
        try:
            rows = self._store.run_bytes(run)
        except (NotFound, CorruptRow):
            rows = 0
        return rows + tree_bytes(run_directory(self._data_dir, run))

    def _children(self, run: str) -> list[str]:
        try:
            state = self._projections.state(self._store.head(run))
            return [child.head["run"] for child in child_tree(self._store, state)]
        except (NotFound, CorruptRow):
            return []

    def count(self, deletions: Iterable[Deletion]) -> None:
        """Count the usage of these runs by day, in few writes: `delete` would do it one by one."""
        heads = []
        for one in deletions:
            with suppress(NotFound, CorruptRow):
                heads.append(self._store.head(one.run))
        with suppress(Conflict):
            self._daily.count(heads)

    def delete(self, deletion: Deletion) -> bool:
        """Delete the run unless it has changed since it was planned; False then."""
        try:
            head = self._store.head(deletion.run)
            if head["updated_at"] != deletion.ended_at:
                return False
            state = self._projections.state(head)
            children = delete_child_runs(self._store, self._data_dir, self._files, state, self._daily)
            self._daily.count([head])
            self._store.delete_run(deletion.run)
        except Conflict as error:
            self.told += error.details.get("runs", ())
            return False
        except (NotFound, CorruptRow):
            return False
        remove_run_files(self._data_dir, self._files, deletion.run)
        for run in (deletion.run, *children):
            self._projections.forget(run)
        log.info("deleted", run=deletion.run, state=deletion.state, why=deletion.why, bytes=deletion.bytes)
        return True

    def sweep(self) -> int:
        """Remove what belongs to no run: directories that a crash left, uploaded rows, child runs without their
        parent. Returns the bytes."""
        freed = self._sweep_children()
        for entry in _entries(self._data_dir / "runs"):
            if _ID.fullmatch(entry.name) and _older(entry, _ORPHAN) and not self._exists(entry.name):
                freed += tree_bytes(Path(entry.path))
                shutil.rmtree(entry.path, ignore_errors=True)
        rooms = _entries(self._data_dir / "blobs")  # one for each owner
        files = (e for room in rooms if room.is_dir(follow_symlinks=False) for e in _entries(Path(room.path)))
        blobs = [e for e in files if _SHA.match(e.name) and _older(e, _BLOB)]
        used = self._used_blobs() if blobs or self._files is not None else set()
        for entry in blobs:
            if entry.name[:64] not in used:
                with suppress(OSError):
                    info = os.lstat(entry.path)  # anew: whoever submits rows touches them first
                    if time.time() - info.st_mtime > _BLOB:
                        os.unlink(entry.path)
                        freed += info.st_size
        if self._files is not None:
            freed += sweep_shared(self._files, self._store, used)
        return freed

    def _sweep_children(self) -> int:
        """Remove ended child runs whose parent is gone: a worker that stood still may create one too late."""
        freed = 0
        cursor: str | None = None
        while True:
            page = self._store.runs(cursor=cursor, limit=200, children=True)
            for head in page.heads:
                parent = head.get("parent")
                if parent is not None and head["state"] in ENDED and not self._exists(parent):
                    freed += self._bytes_alone(head["run"])
                    with suppress(NotFound, Conflict, CorruptRow):
                        self._daily.count([head])
                        self._store.delete_run(head["run"])
                    remove_run_files(self._data_dir, self._files, head["run"])
            cursor = page.next
            if cursor is None:
                return freed

    def _exists(self, run: str) -> bool:
        try:
            self._store.head(run)
        except NotFound:
            return False
        except CorruptRow:
            return True
        return True

    def _used_blobs(self) -> set[str]:
        used: set[str] = set()
        cursor: str | None = None
        while True:
            page = self._store.runs(cursor=cursor, limit=200)
            for head in page.heads:
                with suppress(NotFound):
                    used |= blobs_in(self._store.definition(head["run"]).get("seed"))
            cursor = page.next
            if cursor is None:
                return used

    def store_bytes(self) -> int:
        """The room that the store takes on the disk, with the journals beside its databases."""
        return tree_bytes(self._data_dir / "store")

    def reclaim(self) -> None:
        """Give the room of deleted rows back to the file system."""
        self._store.reclaim()

    def used(self, owner: str | None = None) -> JsonObject:
        """Bytes: `{runs: {bytes, states: {state: {runs, bytes}}}, store, files, blobs, cache, logs, free}`.

        `runs` are the runs of `owner` (None: everybody's) by state; the rest is of the whole data directory.
        """
        states: dict[str, dict[str, int]] = {}
        cursor: str | None = None
        while True:
            page = self._store.runs(owner=owner, cursor=cursor, limit=200, children=True)
            for head in page.heads:
                entry = states.setdefault(head["state"], {"runs": 0, "bytes": 0})
                entry["runs"] += "parent" not in head
                entry["bytes"] += self._bytes_alone(head["run"])
            cursor = page.next
            if cursor is None:
                break
        folder = self._data_dir
        return {
            "runs": {"bytes": sum(s["bytes"] for s in states.values()), "states": states},
            "store": tree_bytes(folder / "store"),
            "files": tree_bytes(folder / "runs"),
            "blobs": tree_bytes(folder / "blobs"),
            "cache": tree_bytes(cache_directory(folder)),
            "logs": tree_bytes(folder / "logs") + tree_bytes(folder / "audit"),
            "free": shutil.disk_usage(folder).free if folder.exists() else None,
        }


def blobs_in(value: Any) -> set[str]:
    """The hashes of uploaded rows that a seed refers to as `{"$rows": SHA256}`."""
    hashes: set[str] = set()
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            sha = value.get("$rows")
            if isinstance(sha, str):
                hashes.add(sha)
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)
    return hashes


def seconds(at: str) -> float:
    """An event's time as seconds since 1970."""
    return datetime.fromisoformat(at).timestamp()


def tree_bytes(directory: Path) -> int:
    """The bytes of all files below `directory`, without following links; 0 when there is none."""
    total, todo = 0, [directory]
    while todo:
        for entry in _entries(todo.pop()):
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    todo.append(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []


def _older(entry: os.DirEntry[str], age: float) -> bool:
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > age
    except OSError:
        return False
