"""Artifacts of a run: files that tasks wrote, which are there when, and only when, the task's commit is (R2.3).

Each attempt writes into a directory of its own. Its `task.done` (a row: its outcome) lists what it wrote, so
the log says which files are artifacts of the run (P1), and one commit makes a checkpoint and its artifacts real
together (P2). What a crashed, failed or fenced-out attempt wrote is in no list; the next worker removes it.

    RUN_DIR/artifacts/TASK/ATTEMPT-FENCE/NAME                    of a task
    RUN_DIR/artifacts/TASK/ATTEMPT-FENCE/ROW-ATTEMPT/NAME        of a row
    RUN_DIR/given/NAME                                           came with the seed
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import TypedDict

from po_jupyter.engine.replay.history import History
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import NotFound
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.files.tree import TEMPORARY, Tree

ARTIFACTS, SEED_FILES = "artifacts", "given"


class Artifact(TypedDict):
    """One artifact, as `task.done` lists it. `path` is relative to the run's `artifacts` directory."""

    name: str
    path: str
    bytes: int
    sha256: str


class AttemptFiles:
    """What one attempt of a task or a row writes. Safe to use from the threads of sync stages."""

    def __init__(self, run_dir: Path, path: str, visible: Callable[[], Mapping[str, Artifact]] = dict) -> None:
        self._run_dir = run_dir
        self._path = path
        self._visible = visible
        self._lock = Lock()
        self.entries: dict[str, Artifact] = {}

    @cached_property
    def _tree(self) -> Tree:
        return Tree(self._run_dir / ARTIFACTS)

    @cached_property
    def _given(self) -> Tree:
        return Tree(self._run_dir / SEED_FILES)

    def write(self, name: str, data: bytes) -> None:
        """Write or replace an artifact. Raises StoreUnusable."""
        path = f"{self._path}/{name}"
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
        return sorted({*list_files(self._given), *self._visible(), *self.entries})

    def read(self, name: str) -> bytes:
        """The artifact that this attempt sees: its own, a finished task's, or the seed's. NotFound."""
        entry = self.entries.get(name) or self._visible().get(name)
        return self._given.read(name) if entry is None else self._tree.read(entry["path"])


class RunFiles:
    """The artifacts of a run in the hands of one worker. `state` answers the run's state as it is now."""

    def __init__(self, run_dir: Path, fence: int, history: History, state: Callable[[], RunState]) -> None:
        self.run_dir = run_dir
        self._fence = fence
        self._state = state
        self._rows = history.artifacts  # of rows with an outcome: task → index → entries
        self._open: dict[tuple[str, int | None], tuple[object, AttemptFiles]] = {}

    def attempt(self, task: str, index: int | None, number: int, frame: object) -> AttemptFiles:
        """What the attempt writes that `frame` stands for; `number` counts attempts of the row or task."""
        opened = self._open.get((task, index))
        if opened is not None and opened[0] is frame:
            return opened[1]
        path = f"{task}/{number}-{self._fence}"
        if index is not None:
            path = f"{task}/{self._state().tasks[task].attempt}-{self._fence}/{index}-{number}"
        written = AttemptFiles(self.run_dir, path, self.visible)
        self._open[task, index] = (frame, written)
        return written

    def now(self) -> AttemptFiles:
        """The artifacts of the run as no attempt's own, for reading."""
        return AttemptFiles(self.run_dir, "", self.visible)

    def said(self, task: str, index: int | None = None) -> JsonObject:
        """`{artifacts: [...]}` for the commit that ends the attempt well; {} when it wrote none.

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
        return {"artifacts": entries} if entries else {}

    def forget(self, task: str, index: int | None = None) -> None:
        """The attempt failed: what it wrote is no artifact."""
        self._open.pop((task, index), None)

    def visible(self) -> dict[str, Artifact]:
        """The artifacts of the run now, by name."""
        return artifacts_by_name(self._state())

    def contents(self) -> dict[str, str]:
        """The SHA-256 of each artifact of the run now, and of what came with the seed. Blocks on the disk."""
        given = Tree(self.run_dir / SEED_FILES)
        found = {name: sha256(given.read(name)).hexdigest() for name in list_files(given)}
        return found | {name: entry["sha256"] for name, entry in self.visible().items()}


def list_files(tree: Tree, *, most: int = 10_000) -> list[str]:
    """Names of the regular files in a tree, at most so many. No link is followed."""
    found: list[str] = []
    for directory, below, names in os.walk(tree.root):
        below.sort()
        for name in sorted(names):
            path = os.path.join(directory, name)
            if not name.startswith(TEMPORARY) and os.path.isfile(path) and not os.path.islink(path):
                found.append(os.path.relpath(path, tree.root).replace(os.sep, "/"))
                if len(found) >= most:
                    return found
    return found


def artifacts_by_name(state: RunState) -> dict[str, Artifact]:
    """The artifacts of a run, by name; of two tasks that wrote the same name, the later one's counts."""
    return {entry["name"]: entry for task in state.tasks.values() for entry in task.artifacts}


def remove_unlisted(run_dir: Path, kept: Iterable[JsonObject]) -> int:
    """Remove what lies in the artifacts directory and no commit lists; how many files. Raises nothing.

    Only for whoever holds the run: an attempt that is at work lists its files at its end.
    """
    root = run_dir / ARTIFACTS
    if not root.is_dir() or root.is_symlink():
        return 0
    known = {os.path.normpath(root / entry["path"]) for entry in kept}
    removed = 0
    for directory, _, names in os.walk(root, topdown=False):
        for name in names:
            path = os.path.join(directory, name)
            if path not in known:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                    removed += 1
        with contextlib.suppress(OSError):  # not empty
            if directory != str(root):
                os.rmdir(directory)
    return removed
