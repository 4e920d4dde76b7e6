"""Pipelines from a folder of files (B10): registered at the start and whenever one of them changed.

    pipelines/NAME.yaml, NAME.yml, NAME.json      the definition; its name is that of the file where it has none
    pipelines/NAME/pipeline.yaml (.yml, .json)    the same, with room for other files beside it

A file that cannot be read as a pipeline is reported with its violations; what it registered before stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import structlog

from po_jupyter.errors import InvalidInput, InvalidPipeline, PoError
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.contained import inlined
from po_jupyter.orchestrator.examination.operations import Examine, examine_here, located
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry

log = structlog.get_logger(__name__)

_KINDS = (".yaml", ".yml", ".json")
_LARGEST = 4_000_000  # bytes of a definition's file


class PipelineFiles:
    """The folder and what is wrong with its files. `refresh` blocks: call it in a thread."""

    def __init__(
        self, directory: Path, registry: PipelineRegistry, owner: str, examine: Examine = examine_here
    ) -> None:
        """Pipelines are registered as `owner`'s; `examine` reads their definitions."""
        self._examine = examine
        self._directory = directory
        self._registry = registry
        self._owner = owner
        self._seen: dict[Path, tuple[int, int]] = {}
        self.problems: dict[str, str] = {}  # by the name that the file's pipeline should have

    @property
    def project(self) -> Path:
        """The directory in which modules of Python tasks are looked up: beside the folder."""
        return self._directory.parent

    def refresh(self) -> int:
        """Register what is new or changed; how many. Raises StoreError; a bad file is only reported."""
        changed = 0
        for path, name in self._files():
            try:
                info = path.stat()
                stamp = info.st_mtime_ns, info.st_size
                if self._seen.get(path) == stamp:
                    continue
                self._registry.put(self._read(path, name, info.st_size), self._owner)
                self.problems.pop(name, None)
                changed += 1
                self._look_again()
            except InvalidInput as error:  # also what takes too long to read
                self.problems[name] = f"{path}: {error.message}"
                log.error("a pipeline's file cannot be used", file=str(path), error=error.message)
            except (OSError, UnicodeDecodeError) as error:
                self.problems[name] = f"{path} cannot be read: {error}"
                log.error("a pipeline's file cannot be read", file=str(path), error=str(error))
                continue
            self._seen[path] = stamp
        return changed

    def _look_again(self) -> None:
        """Have files with a problem read again: it may be that they run a pipeline which is there only now."""
        for path in [path for path in self._seen if {path.stem, path.parent.name} & self.problems.keys()]:
            del self._seen[path]

    def _files(self) -> Iterator[tuple[Path, str]]:
        try:
            entries = sorted(self._directory.iterdir())
        except OSError as error:
            log.error("the pipelines' folder cannot be read", folder=str(self._directory), error=str(error))
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.suffix in _KINDS and entry.is_file():
                yield entry, entry.stem
            elif entry.is_dir():
                inside = next((p for k in _KINDS if (p := entry / f"pipeline{k}").is_file()), None)
                if inside is not None:
                    yield inside, entry.name

    def _read(self, path: Path, name: str, size: int) -> Pipeline:
        if size > _LARGEST:
            raise InvalidPipeline(f"the file has {size:,} bytes; a definition may have {_LARGEST:,}")
        definition = path.read_text("utf-8-sig")
        try:
            answer = self._examine({"what": "parse", "definition": definition})
        except PoError as error:
            if not isinstance(error, InvalidPipeline) or not any(v.where == "name" for v in error.violations):
                raise
            # It has no name of its own, or the same mistake again.
            answer = self._examine({"what": "parse", "definition": definition, "name": name})
        pipeline = validate_pipeline(answer, recorded=True)
        try:
            return inlined(pipeline, lambda one: self._registry.pipeline(one, self._owner))
        except InvalidPipeline as error:
            raise located(error, definition) from None
