"""The artifacts of a run: the files that its log lists, and those that came with its seed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypedDict, cast

from po_jupyter.engine.files.artifacts import (
    ARTIFACTS,
    SEED_FILES,
    Artifact,
    absent_files,
    artifacts_by_name,
    shared_file,
    shared_seed_file,
)
from po_jupyter.engine.state.run_state import RunState, TaskState
from po_jupyter.errors import NotFound
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.names import short_id
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.files.tree import Tree
from po_jupyter.store.objects.shared_files import RunFile, SharedFiles, digest_of_file

SeedFiles = Sequence[Mapping[str, Any]]  # as the definition of a run has them


class ArtifactInfo(TypedDict):
    """An artifact; `path` is where it is on this machine. `task` and `sha256` are None for a file that came with the
    seed."""

    name: str
    task: str | None
    bytes: int
    sha256: str | None
    path: str


def listed(run_dir: Path, state: RunState, seed_files: SeedFiles = ()) -> list[ArtifactInfo]:
    """Every artifact, by name. `seed_files` are those of the run's definition, which another node may have."""
    task_of = {entry["path"]: task.name for task in state.tasks.values() for entry in task.artifacts}
    infos: dict[str, ArtifactInfo] = {
        file["name"]: {
            "name": file["name"], "task": None, "bytes": file["bytes"], "sha256": None,
            "path": str(run_dir / SEED_FILES / file["name"]),
        }
        for file in seed_files
    }  # fmt: skip
    infos |= {name: _from_seed(run_dir, name) for name in _names(run_dir / SEED_FILES)}
    for name, entry in artifacts_by_name(state).items():
        path = str(run_dir / ARTIFACTS / entry["path"])
        infos[name] = cast("ArtifactInfo", {**entry, "task": task_of[entry["path"]], "path": path})
    return [infos[name] for name in sorted(infos)]


def opened(
    run_dir: Path,
    state: RunState,
    name: str,
    fetch: Callable[[tuple[str, int, str]], None] | None = None,
    seed_files: SeedFiles = (),
) -> BinaryIO:
    """The file of an artifact, open for reading: close it. One that another node wrote is brought with `fetch`.

    Raises NotFound, Unavailable.
    """
    from_seed = {file["name"]: shared_seed_file(file) for file in seed_files}
    entry = artifacts_by_name(state).get(name)
    names = sorted({*artifacts_by_name(state), *from_seed, *_names(run_dir / SEED_FILES)})
    if name not in names:
        raise NotFound(f"run {short_id(state.run)} has no artifact {name!r:.80}{did_you_mean(name, names)}")
    shared = from_seed.get(name) if entry is None else shared_file(entry)
    if fetch is not None and shared is not None:
        for file in absent_files(run_dir, [shared]):
            fetch(file)
    return (
        Tree(run_dir / SEED_FILES).open(name)
        if entry is None
        else Tree(run_dir / ARTIFACTS).open(entry["path"])
    )


def fetch_from(files: SharedFiles, run: str, run_dir: Path, file: tuple[str, int, str]) -> None:
    """Bring a file here that another node has. Raises NotFound, Unavailable."""
    for problem in files.fetch(run, run_dir, [RunFile(*file)]).values():
        raise NotFound(f"the file {file[0]!r:.80} of run {short_id(run)} cannot be read here: {problem}")


def seed_files_of(run_dir: Path) -> list[JsonObject]:
    """The files that came with the seed, as a definition has them. Raises StoreUnusable."""
    tree = Tree(run_dir / SEED_FILES)
    found: list[JsonObject] = []
    for name in sorted(_names(tree.root)):
        with tree.open(name) as file:
            digest, size = digest_of_file(file)
            found.append({"name": name, "bytes": size, "sha256": digest})
    return found


def take_over(
    source: Path,
    target: Path,
    tasks: Iterable[TaskState],
    files: SharedFiles | None = None,
    seed_files: SeedFiles = (),
) -> None:
    """Copy the artifacts of `tasks`, and what came with the seed, to the directory of another run.

    Before that run is created: a crash in between leaves files without a run, never a run without its files. With
    `files` that other nodes wrote or shall read too. Raises StoreUnusable, Unavailable.
    """
    entries = [cast("Artifact", entry) for task in tasks for entry in task.artifacts]
    shared = [*(shared_seed_file(file) for file in seed_files), *(shared_file(entry) for entry in entries)]
    if files is not None:
        files.fetch(source.name, source, [RunFile(*file) for file in absent_files(source, shared)])
    for kind, names in (
        (ARTIFACTS, [entry["path"] for entry in entries]),
        (SEED_FILES, _names(source / SEED_FILES)),
    ):
        old, new = Tree(source / kind), Tree(target / kind)
        for name in names:
            with contextlib.suppress(NotFound):  # somebody removed it by hand: as missing there as here
                new.write(name, old.read(name))
    if files is not None:
        missing = set(absent_files(target, shared))
        files.keep(target.name, target, [RunFile(*file) for file in shared if file not in missing])


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
