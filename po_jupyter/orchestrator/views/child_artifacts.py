"""The artifacts of a run with those of the pipelines that its tasks run: `t/report.md` is `report.md` of task `t`'s."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from po_jupyter.engine.files.artifacts import ARTIFACTS, Artifact, absent_files, shared_file
from po_jupyter.engine.state.run_state import RunState, TaskState
from po_jupyter.errors import NotFound
from po_jupyter.orchestrator.views import artifacts
from po_jupyter.orchestrator.views.artifacts import ArtifactInfo, SeedFiles
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.files.tree import Tree
from po_jupyter.store.objects.shared_files import RunFile, SharedFiles
from po_jupyter.store.protocol import Head


class WholeArtifacts:
    """Reads artifacts. Every method blocks: call them in a thread."""

    def __init__(
        self,
        data_dir: Path,
        projections: RunProjections,
        head_of: Callable[[str], Head],
        files: SharedFiles | None = None,
    ) -> None:
        """`head_of` reads the head of a run by its whole id; `files` are those that nodes share."""
        self._data_dir = data_dir
        self._projections = projections
        self._head_of = head_of
        self._files = files

    def listed(self, head: Head) -> list[ArtifactInfo]:
        """Every artifact, by name. What a pipeline's tasks wrote has the names of tasks on the way in `task`, joined by
        dots."""
        state = self._projections.state(head)
        found = artifacts.listed(self._directory(head), state, self._seed_files(head["run"]))
        infos = {info["name"]: info for info in found}
        for task, child in self._children(state):
            for info in self.listed(child):
                if info["task"] is not None:  # what came with its seed is of this run
                    name = f"{task}/{info['name']}"
                    infos.setdefault(name, {**info, "name": name, "task": f"{task}.{info['task']}"})
        return [infos[name] for name in sorted(infos)]

    def copied_below(self, task: TaskState, target: Path) -> list[Artifact]:
        """Copy what the tasks of the pipeline wrote that `task` runs into the directory of another run: as artifacts of
        the task there. Raises Unavailable, StoreUnusable."""
        copied: list[Artifact] = []
        for name, child in self._child(task):
            for info in self.listed(child):
                if (digest := info["sha256"]) is None:
                    continue  # it came with the seed
                path = f"{name}/0-0/{info['name']}"  # before every attempt
                with suppress(NotFound), self.opened(child, info["name"]) as file:  # removed by hand
                    Tree(target / ARTIFACTS).write(path, file.read())
                copied.append(
                    {"name": f"{name}/{info['name']}", "path": path, "bytes": info["bytes"], "sha256": digest}
                )
        if self._files is not None:
            shared = [shared_file(entry) for entry in copied]
            missing = set(absent_files(target, shared))
            self._files.keep(target.name, target, [RunFile(*file) for file in shared if file not in missing])
        return copied

    def opened(self, head: Head, name: str) -> BinaryIO:
        """The file of an artifact, open for reading: close it. Raises NotFound, Unavailable."""
        state, directory, files = self._projections.state(head), self._directory(head), self._files
        fetch = None if files is None else partial(artifacts.fetch_from, files, head["run"], directory)
        try:
            return artifacts.opened(directory, state, name, fetch, self._seed_files(head["run"]))
        except NotFound:
            for task, child in self._children(state):
                if name.startswith(f"{task}/"):
                    return self.opened(child, name.removeprefix(f"{task}/"))
            raise

    def _children(self, state: RunState) -> Iterator[tuple[str, Head]]:
        """Tasks that run a pipeline, with the run that counts."""
        for task in state.tasks.values():
            yield from self._child(task)

    def _child(self, task: TaskState) -> Iterator[tuple[str, Head]]:
        if task.kind == "pipeline" and (run := task.pipeline_run) is not None:
            with suppress(NotFound):
                yield task.name, self._head_of(run)

    def _directory(self, head: Head) -> Path:
        return self._data_dir / "runs" / head["run"]

    def _seed_files(self, run: str) -> SeedFiles:
        return () if self._files is None else self._projections.definition(run).seed_files
