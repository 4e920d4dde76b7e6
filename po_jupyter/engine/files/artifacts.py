"""Artifacts of a run: files that tasks wrote; they exist when, and only when, the task's commit does (R2.3).

Each attempt writes into a directory of its own. Its `task.done` (a row: its outcome) lists the files, so the log
says which files are artifacts of the run (P1), and one commit makes a checkpoint and its artifacts real together (P2).
Files of a crashed, failed or fenced-out attempt are in no list; the next worker removes them.

    RUN_DIR/artifacts/TASK/ATTEMPT-FENCE/NAME                    of a task
    RUN_DIR/artifacts/TASK/ATTEMPT-FENCE/ROW-ATTEMPT/NAME        of a row
    RUN_DIR/given/NAME                                           came with the seed
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, TypedDict, cast

from po_jupyter.engine.files.run_database import DATABASE, settle, take_back
from po_jupyter.engine.ports import RunFileShare
from po_jupyter.engine.replay.history import History
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import NotFound, StageFailed, StoreUnusable
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.files.tree import TEMPORARY, Tree

ARTIFACTS, SEED_FILES = "artifacts", "given"


class Artifact(TypedDict):
    """One artifact, as `task.done` lists it. `path` is relative to the run's `artifacts` directory."""

    name: str
    path: str
    bytes: int
    sha256: str


class ArtifactFields(TypedDict, total=False):
    """The field of `task.done`, or of a row's outcome, that lists artifacts."""

    artifacts: list[JsonObject]


class AttemptFiles:
    """The files of one attempt of a task or a row. Safe to use from the threads of sync stages."""

    def __init__(
        self,
        run_dir: Path,
        path: str,
        visible: Callable[[], Mapping[str, Artifact]] = dict,
        missing: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """The files in `artifacts/PATH`; `visible` are the artifacts of finished tasks, by name. `missing` says of
        paths in the run's directory why there is no file."""
        self._run_dir = run_dir
        self._missing = missing
        self.path = path
        self.uses_database = False
        self._visible = visible
        self._lock = Lock()
        self.entries: dict[str, Artifact] = {}

    @cached_property
    def _tree(self) -> Tree:
        return Tree(self._run_dir / ARTIFACTS)

    @cached_property
    def _seed_files(self) -> Tree:
        return Tree(self._run_dir / SEED_FILES)

    def write(self, name: str, data: bytes) -> None:
        """Write or replace an artifact. Raises StoreUnusable."""
        path = f"{self.path}/{name}"
        self._tree.write(path, data)
        entry: Artifact = {"name": name, "path": path, "bytes": len(data), "sha256": sha256(data).hexdigest()}
        with self._lock:
            self.entries.pop(name, None)
            self.entries[name] = entry

    def append(self, name: str, data: bytes) -> None:
        """Write the artifact as this attempt sees it, with `data` at its end. Whole, like every artifact."""
        try:
            before = self.read(name)
        except NotFound:
            before = b""
        self.write(name, before + data)

    def names(self) -> list[str]:
        """Names of the artifacts that this attempt sees, those that came with the seed included."""
        return sorted({*list_files(self._seed_files), *self._visible(), *self.entries})

    def read(self, name: str, most: int | None = None) -> bytes:
        """An artifact that this attempt sees: its own, a finished task's, or the seed's. Raises NotFound, StageFailed
        for one that could not be brought here, InvalidInput for one of more than `most` bytes."""
        entry = self.entries.get(name) or self._visible().get(name)
        path = f"{SEED_FILES}/{name}" if entry is None else f"{ARTIFACTS}/{entry['path']}"
        if path in self._missing:
            raise StageFailed(f"the file {name!r} cannot be read here: {self._missing[path]}")
        if entry is None:
            return self._seed_files.read(name, limit=most)
        return self._tree.read(entry["path"], limit=most)


class RunFiles:
    """The artifacts of a run in one worker."""

    def __init__(
        self,
        run_dir: Path,
        fence: int,
        history: History,
        state: Callable[[], RunState],
        share: RunFileShare | None = None,
        rows: Sequence[str] = (),
        seed_files: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """The artifacts in `run_dir` under the lease with `fence`; `state` is the run as it is now. With `share` other
        nodes have them too; `rows` are then the hashes of the files of rows that the run needs, `seed_files` those of
        its definition."""
        self._seed_files = [shared_seed_file(file) for file in seed_files]
        self.run_dir = run_dir
        self._share = share
        self._needed_rows = rows
        self._missing: dict[str, str] = {}
        self._fetching: asyncio.Lock | None = asyncio.Lock() if share is not None else None
        self._fence = fence
        self._state = state
        self._rows = history.artifacts  # of rows with an outcome: task → index → entries
        self._open: dict[tuple[str, int | None], tuple[object, AttemptFiles]] = {}

    def attempt(self, task: str, index: int | None, number: int, frame: object) -> AttemptFiles:
        """The files of the attempt that `frame` stands for; `number` counts attempts of the row or task."""
        opened = self._open.get((task, index))
        if opened is not None and opened[0] is frame:
            return opened[1]
        path = f"{task}/{number}-{self._fence}"
        if index is not None:
            path = f"{task}/{self._state().tasks[task].attempt}-{self._fence}/{index}-{number}"
        files = AttemptFiles(self.run_dir, path, self.visible, self._missing)
        self._open[task, index] = (frame, files)
        return files

    @property
    def used_database(self) -> bool:
        """Whether the run has a database."""
        return (self.run_dir / DATABASE).exists()

    def now(self) -> AttemptFiles:
        """The artifacts of the run now, for reading."""
        return AttemptFiles(self.run_dir, "", self.visible, self._missing)

    async def keep(self, task: str, index: int | None = None) -> None:
        """Put what a successful attempt wrote where other nodes find it, before the commit that lists it. Raises
        InvalidInput, an Interrupt."""
        opened = self._open.get((task, index))
        if self._share is not None and opened is not None and opened[1].entries:
            await self._share.keep([shared_file(entry) for entry in opened[1].entries.values()])

    async def fetch(self) -> None:
        """Bring the run's files here that another node wrote; at the first time only. Raises an Interrupt."""
        if self._fetching is None:
            return
        async with self._fetching:
            if self._share is None:
                return
            entries = [*self.visible().values(), *self._rows_entries()]
            wanted = [*self._seed_files, *(shared_file(entry) for entry in entries)]
            if wanted or self._needed_rows:
                files = await asyncio.to_thread(absent_files, self.run_dir, wanted)
                if files or self._needed_rows:
                    self._missing.update(await self._share.fetch(files, self._needed_rows))
            self._fetching = None

    def _rows_entries(self) -> list[Artifact]:
        return [entry for rows in self._rows.values() for entries in rows.values() for entry in entries]

    def commit_fields(self, task: str, index: int | None = None) -> ArtifactFields:
        """`{artifacts: [...]}` for the commit of a successful attempt; {} when it wrote none.

        For a map, `index` None, those of its rows.
        """
        opened = self._open.pop((task, index), None)
        entries = list(opened[1].entries.values()) if opened is not None else []
        if index is not None:
            if entries:
                self._rows.setdefault(task, {})[index] = entries
        else:
            rows = self._rows.get(task, {})
            entries += [entry for row in sorted(rows) for entry in rows[row]]
        return {"artifacts": cast("list[JsonObject]", entries)} if entries else {}

    async def take_back(self, task: str, index: int | None = None) -> None:
        """Take back what a failed attempt wrote into the database of the run. Raises nothing: the next worker does it
        otherwise."""
        opened = self._open.get((task, index))
        if opened is not None and opened[1].uses_database:
            opened[1].uses_database = False
            with contextlib.suppress(sqlite3.Error):
                await asyncio.to_thread(take_back, self.run_dir, opened[1].path, alone=index is None)

    def forget(self, task: str, index: int | None = None) -> None:
        """Forget the files of a failed attempt: they are no artifacts."""
        self._open.pop((task, index), None)

    def visible(self) -> dict[str, Artifact]:
        """The artifacts of the run now, by name."""
        return artifacts_by_name(self._state())

    def digests(self) -> dict[str, str]:
        """The SHA-256 of each artifact of the run now, and of what came with the seed. Blocks on the disk."""
        seed_files = Tree(self.run_dir / SEED_FILES)
        digests = {name: sha256(seed_files.read(name)).hexdigest() for name in list_files(seed_files)}
        return digests | {name: entry["sha256"] for name, entry in self.visible().items()}


def shared_file(entry: Artifact) -> tuple[str, int, str]:
    """Where an artifact is in the run's directory, the fence under which it was written, its SHA-256."""
    attempt = entry["path"].split("/")[1]
    return f"{ARTIFACTS}/{entry['path']}", int(attempt.rpartition("-")[2]), entry["sha256"]


def shared_seed_file(file: Mapping[str, Any]) -> tuple[str, int, str]:
    """The same for a file that came with the seed, as the definition of the run has it."""
    return f"{SEED_FILES}/{file['name']}", 0, str(file["sha256"])


def absent_files(run_dir: Path, files: Iterable[tuple[str, int, str]]) -> list[tuple[str, int, str]]:
    """Those that are not in the run's directory, each once."""
    return [file for file in dict.fromkeys(files) if not os.path.lexists(run_dir / file[0])]


def list_files(tree: Tree, *, most: int = 10_000) -> list[str]:
    """Names of the regular files in a tree, at most `most`. No link is followed."""
    files: list[str] = []
    for directory, below, names in os.walk(tree.root):
        below.sort()
        for name in sorted(names):
            path = os.path.join(directory, name)
            if not name.startswith(TEMPORARY) and os.path.isfile(path) and not os.path.islink(path):
                files.append(os.path.relpath(path, tree.root).replace(os.sep, "/"))
                if len(files) >= most:
                    return files
    return files


def artifacts_by_name(state: RunState) -> dict[str, Artifact]:
    """The artifacts of a run, by name; of two tasks that wrote the same name, the later one's counts."""
    entries = [entry for task in state.tasks.values() for entry in cast("tuple[Artifact, ...]", task.artifacts)]
    return {entry["name"]: entry for entry in entries}


def remove_unlisted(run_dir: Path, listed: Iterable[JsonObject]) -> int:
    """Remove the files of the artifacts directory that no commit lists; how many. Raises nothing.

    Only for the worker that has the run: an attempt lists its files at its end.
    """
    root = run_dir / ARTIFACTS
    if not root.is_dir() or root.is_symlink():
        return 0
    paths = {os.path.normpath(root / entry["path"]) for entry in listed}
    removed = 0
    for directory, _, names in os.walk(root, topdown=False):
        for name in names:
            path = os.path.join(directory, name)
            if path not in paths:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                    removed += 1
        with contextlib.suppress(OSError):  # not empty
            if directory != str(root):
                os.rmdir(directory)
    return removed


def settle_database(run_dir: Path, history: History) -> None:
    """Take back what attempts without a durable outcome wrote into the database of the run. Raises StoreUnusable.

    Only for the worker that has the run, while no task runs.
    """
    if not (run_dir / DATABASE).exists():
        return

    def succeeded(path: str) -> bool:
        task, _, row = path.partition("/")
        state = history.state.tasks.get(task)
        _, _, row = row.partition("/")
        if not row:
            return state is not None and state.state == "done"
        try:
            return history.table(task)[int(row.partition("-")[0])].ok
        except KeyError:
            return False

    try:
        settle(run_dir, succeeded)
    except sqlite3.Error as error:
        raise StoreUnusable(
            f"the database {run_dir / DATABASE} cannot be used: {error}",
            hint="Free some space, or look at its rights and owner.",
        ) from error
