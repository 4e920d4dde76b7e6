"""The artifacts of a run: the files that its log lists, and those that came with its seed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, TypedDict, cast

from po_jupyter.engine.files.artifacts import (
    ARTIFACTS,
    SEED_FILES,
    Artifact,
    artifacts_by_name,
    shared_file,
)
from po_jupyter.engine.state.run_state import RunState, TaskState
from po_jupyter.errors import NotFound
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.names import short_id
from po_jupyter.store.files.tree import Tree
from po_jupyter.store.objects.shared_files import RunFile, SharedFiles


class ArtifactInfo(TypedDict):
    """An artifact; `path` is where it is on this machine. `task` and `sha256` are None for a file that came with the
    seed."""

    name: str
    task: str | None
    bytes: int
    sha256: str | None
    path: str


def listed(run_dir: Path, state: RunState) -> list[ArtifactInfo]:
    """Every artifact, by name."""
    task_of = {entry["path"]: task.name for task in state.tasks.values() for entry in task.artifacts}
    infos = {name: _from_seed(run_dir, name) for name in _names(run_dir / SEED_FILES)}
    for name, entry in artifacts_by_name(state).items():
        path = str(run_dir / ARTIFACTS / entry["path"])
        infos[name] = cast("ArtifactInfo", {**entry, "task": task_of[entry["path"]], "path": path})
    return [infos[name] for name in sorted(infos)]


def opened(
    run_dir: Path, state: RunState, name: str, fetch: Callable[[Artifact], None] | None = None
) -> BinaryIO:
    """The file of an artifact, open for reading: close it. One that another node wrote is brought with `fetch`.

    Raises NotFound, Unavailable.
    """
    entry = artifacts_by_name(state).get(name)
    names = sorted({*artifacts_by_name(state), *_names(run_dir / SEED_FILES)})
    if name not in names:
        raise NotFound(f"run {short_id(state.run)} has no artifact {name!r:.80}{did_you_mean(name, names)}")
    if entry is None:
        return Tree(run_dir / SEED_FILES).open(name)
    if fetch is not None and not os.path.lexists(run_dir / ARTIFACTS / entry["path"]):
        fetch(entry)
    return Tree(run_dir / ARTIFACTS).open(entry["path"])


def fetch_from(files: SharedFiles, run: str, run_dir: Path, entry: Artifact) -> None:
    """Bring an artifact here that another node wrote. Raises NotFound, Unavailable."""
    problems = files.fetch(run, run_dir, [RunFile(*shared_file(entry))])
    for problem in problems.values():
        raise NotFound(
            f"the artifact {entry['name']!r:.80} of run {short_id(run)} cannot be read here: {problem}"
        )


def take_over(source: Path, target: Path, tasks: Iterable[TaskState], files: SharedFiles | None = None) -> None:
    """Copy the artifacts of `tasks`, and what came with the seed, to the directory of another run.

    Before that run is created: a crash in between leaves files without a run, never a run without its files. With
    `files` that other nodes wrote or shall read too. Raises StoreUnusable, Unavailable.
    """
    entries = [cast("Artifact", entry) for task in tasks for entry in task.artifacts]
    shared = [RunFile(*shared_file(entry)) for entry in entries]
    if files is not None:
        files.fetch(source.name, source, [file for file in shared if not os.path.lexists(source / file.path)])
    for kind, names in (
        (ARTIFACTS, [entry["path"] for entry in entries]),
        (SEED_FILES, _names(source / SEED_FILES)),
    ):
        old, new = Tree(source / kind), Tree(target / kind)
        for name in names:
            with contextlib.suppress(NotFound):  # somebody removed it by hand: as missing there as here
                new.write(name, old.read(name))
    if files is not None:
        files.keep(target.name, target, [file for file in shared if os.path.lexists(target / file.path)])


def _from_seed(run_dir: Path, name: str) -> ArtifactInfo:
    path = run_dir / SEED_FILES / name
    return {"name": name, "task": None, "bytes": path.lstat().st_size, "sha256": None, "path": str(path)}


def _names(root: Path) -> list[str]:
    """Regular files below `root`, without following links."""
    paths = []
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            if path.is_file() and not path.is_symlink():
                paths.append(path.relative_to(root).as_posix())
    return paths
