"""A run is taken that was handed over (the side that takes): only in the service of shared runs.

Its file is received, and read once it is accepted: then nobody works the run off where it came from. It is checked as a
submission of its owner would be, whatever was checked before, and what is in it is believed to be nothing but data.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, cast

from po_jupyter.config import Settings
from po_jupyter.errors import Conflict, InvalidInput, NotFound, PoError, StoreError
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.definition import FORMAT as DEFINITIONS
from po_jupyter.model.run.definition import RunDefinition, RunOptions
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.names import actor_of
from po_jupyter.model.run.row_file_ref import checked_hash
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.control.run_files import run_directory
from po_jupyter.orchestrator.dispatch.protocol import Dispatcher
from po_jupyter.orchestrator.environment.permission import check_may_run
from po_jupyter.orchestrator.environment.preflight import Preflight
from po_jupyter.orchestrator.moves.archive import FOLDERS, FORMAT, ArchivePart, read_archive
from po_jupyter.orchestrator.moves.received_state import ReceivedState
from po_jupyter.orchestrator.submission.planner import RunPlanner
from po_jupyter.orchestrator.submission.request import parse_submission
from po_jupyter.orchestrator.submission.row_uploads import RowUpload
from po_jupyter.orchestrator.threads import OwnerThreads, ToThread
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.orchestrator.workers.shareable import is_plain
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store.files.row_files import RowFiles, RowFileUpload
from po_jupyter.store.files.tree import Tree
from po_jupyter.store.keyed.run_import import RunImport, RunRow, is_moment
from po_jupyter.store.keyed.store import KeyedStore
from po_jupyter.store.protocol import Head, Store
from po_jupyter.telemetry.correlation import actor

_KEPT = 24 * 3600  # s that a file is kept which nobody has accepted: its run is where it was
_RUN = re.compile(r"[0-9a-f]{22}")
_TEXTS = ("pipeline", "version", "name", "created_at", "updated_at")
_NUMBERS = ("priority", "fence", "n", "offset")
_STATES = frozenset({"pending", "running", "waiting", *ENDED}) - {"moved"}


class RunReceptions:
    """Receives, checks and accepts runs. `owner` is the person or group who will have them."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        projections: RunProjections,
        runs: RunQueries,
        dispatcher: Dispatcher,
        *,
        planner: RunPlanner,
        preflight: Preflight,
        row_files: RowFiles,
        to_thread: ToThread,
        submitting: OwnerThreads,
    ) -> None:
        """Runs are checked in threads of `submitting`."""
        self._settings = settings
        self._store = cast("KeyedStore", store)
        self._projections = projections
        self._runs = runs
        self._dispatcher = dispatcher
        self._planner = planner
        self._preflight = preflight
        self._row_files = row_files
        self._to_thread = to_thread
        self._submitting = submitting
        self._accepting = Lock()

    def _check_here(self) -> None:
        if not self._settings.hub_behalf:
            raise NotFound(
                "runs are handed over to the service of shared runs alone", hint="po move RUN shared"
            )

    async def check(self, body: JsonObject, owner: str) -> None:
        """Raises what keeps a run `{run, pipeline, model?}` from being taken: Conflict, NotFound, InvalidInput."""
        self._check_here()
        await self._submitting.of(owner)(self._check, body, owner)

    def _check(self, body: JsonObject, owner: str) -> None:
        run = str(body["run"])
        if not _RUN.fullmatch(run):
            raise InvalidInput(f"{run!r:.80} is no id of a run")
        self._check_pipeline(body["pipeline"], body.get("model"), owner)
        with suppress(NotFound):
            self._store.head(run)
            raise Conflict(f"there is a run {run} already among the shared ones")

    def _check_pipeline(self, definition: object, model: object, owner: str) -> Pipeline:
        """As a submission of the owner is checked: no code, models that they may ask."""
        if not isinstance(definition, dict):
            raise InvalidInput("a pipeline is an object")
        options = {} if model is None else {"model": model}
        submission = parse_submission({"pipeline": definition, "options": options})
        pipeline = self._planner.definition(submission, owner)
        check_may_run(pipeline, self._settings, code_allowed=False, model=submission.options.model)
        self._preflight.check(pipeline, owner, model=submission.options.model)
        return pipeline

    async def receive(self, sha256: str, owner: str) -> RowUpload:
        """Begin to receive the file of a run. NotFound, InvalidInput, StoreUnusable."""
        self._check_here()

        def begin() -> RowFileUpload:
            path = self._path(owner, sha256)
            for old in path.parent.glob("*.run"):
                with suppress(FileNotFoundError):  # accepted meanwhile
                    if time.time() - old.stat().st_mtime > _KEPT:
                        old.unlink()
            return RowFileUpload(path, sha256, check=_count_parts)

        return RowUpload(await self._to_thread(begin), self._to_thread)

    def _path(self, owner: str, sha256: str) -> Path:
        return self._settings.data_dir / "moves" / short_digest(owner, 16) / f"{checked_hash(sha256)}.run"

    async def accept(self, sha256: str, owner: str, *, may_decide: bool = True) -> RunView:
        """Have a run worked off whose file was received; accepted again it is the same run. `may_decide`: whoever asks
        may decide gates of the owner's runs; else none in its history may be decided.

        Raises NotFound for a file that is not here. What else is raised has "refused" as `handover` in its details
        where the run will never be accepted: its file is gone then.
        """
        self._check_here()
        by = actor.get() or actor_of(owner)
        run = await self._submitting.of(owner)(
            self._accept, self._path(owner, sha256), sha256, owner, by, may_decide
        )
        await self._dispatcher.changed(run)
        return await self._runs.newest_view(run)

    def _accept(self, path: Path, sha256: str, owner: str, by: str, may_decide: bool) -> str:
        with self._accepting:
            if (accepted := self._store.get("received", sha256)) is not None and accepted["owner"] == owner:
                return str(accepted["run"])
            try:
                file = path.open("rb")
            except FileNotFoundError:
                raise NotFound(f"the run {sha256[:12]}... was not sent, or is here no more") from None
            try:
                with file:
                    run = self._take(file, sha256, owner, by, may_decide)
            except (StoreError, OSError):
                raise  # of this place: tried again
            except PoError as error:
                if isinstance(error, Conflict) and self._is_this(path, sha256, owner):
                    return self._accepted(path, sha256, owner)
                path.unlink(
                    missing_ok=True
                )  # before anybody hears that it is refused: no late request takes it
                error.details["handover"] = "refused"
                raise
            crashpoint("reception.taken")
            self._store.put("received", sha256, {"run": run, "owner": owner})
            path.unlink(missing_ok=True)
            return run

    def _is_this(self, path: Path, sha256: str, owner: str) -> bool:
        """Whether the run is here because this very file was accepted, by somebody who was killed behind that."""
        run = self._run_in(path)
        with suppress(NotFound, StoreError):
            last = self._store.head(run)
            if last["owner"] != owner:
                return False
            events = (event for record in self._store.records(run) for event in record["events"])
            return any(e["type"] == "run.received" and e["data"]["sha256"] == sha256 for e in events)
        return False

    def _run_in(self, path: Path) -> str:
        with path.open("rb") as file:
            return str(_first(read_archive(file))["head"]["run"])

    def _accepted(self, path: Path, sha256: str, owner: str) -> str:
        run = self._run_in(path)
        self._store.put("received", sha256, {"run": run, "owner": owner})
        path.unlink(missing_ok=True)
        return run

    # -- what is in the file --------------------------------------------------------------------

    def _take(self, file: BinaryIO, sha256: str, owner: str, by: str, may_decide: bool) -> str:
        parts = read_archive(file)
        about = _first(parts)
        head, definition = _head_of(about["head"], owner), _definition_of(about["definition"])
        run = head["run"]
        pipeline = self._check_pipeline(dict(definition.pipeline), definition.options.model, owner)
        importing = RunImport(self._store, run)
        self._projections.forget(run)
        directory = run_directory(self._settings.data_dir, run)
        shutil.rmtree(directory, ignore_errors=True)  # of a reception that was killed, perhaps another's
        tree = Tree(directory)
        try:
            state = ReceivedState(head, pipeline, may_decide=may_decide)
            for part in parts:
                if part.part == "row":
                    row = RunRow(str(part.about.get("kind")), part.about.get("n", 0), part.data())
                    state.add(importing.add(row))
                else:
                    self._file(part, tree, owner)
            state.check(self._store)
            self._row_files.check(owner, definition.seed.get("data") or {}, definition.seed.get("index"))
            received = draft(
                "run.received", owner=owner, from_owner=str(about["head"]["owner"])[:200], by=by, sha256=sha256
            )
            head["shareable"] = is_plain(definition)
            crashpoint("reception.read")
            importing.finish(head, definition.to_json(), [received])
        except BaseException:
            if importing.abort():
                shutil.rmtree(directory, ignore_errors=True)
            raise
        return run

    def _file(self, part: ArchivePart, tree: Tree, owner: str) -> None:
        name = str(part.about.get("name"))
        if part.part == "file":
            if name.partition("/")[0] not in FOLDERS:
                raise InvalidInput(f"a run has no file {name!r:.80}")
            tree.receive(name, part.pieces)
        elif part.part == "rows":
            upload = self._row_files.receive(owner, name)
            try:
                for piece in part.pieces:
                    upload.write(piece)
                upload.finish()
            finally:
                upload.abort()
        elif part.part != "end":
            raise InvalidInput("the file of the run has parts that nobody knows here")


def _first(parts: Iterator[ArchivePart]) -> JsonObject:
    part = next(parts)
    head, definition = part.about.get("head"), part.about.get("definition")
    if part.part != "run" or part.about.get("format") != FORMAT or not isinstance(head, dict):
        raise InvalidInput("this is no file of a run, or one of another version")
    if not isinstance(definition, dict):
        raise InvalidInput("the run has no definition")
    return part.about


def _count_parts(path: Path) -> int:
    """The parts of a file that is whole. Raises InvalidInput."""
    with path.open("rb") as file:
        return sum(1 for _ in read_archive(file))


def _head_of(value: JsonObject, owner: str) -> Head:
    """The head of the run as it is here: the owner's, and held by nobody. Raises InvalidInput."""
    are_texts = all(isinstance(value.get(name), str) and len(value[name]) <= 1000 for name in _TEXTS)
    are_numbers = all(type(value.get(name)) is int and abs(value[name]) < 2**53 for name in _NUMBERS)
    run, state = value.get("run"), value.get("state")
    are_texts = are_texts and is_moment(value["created_at"]) and is_moment(value["updated_at"])
    if not (are_texts and are_numbers and isinstance(run, str) and _RUN.fullmatch(run) and state in _STATES):
        raise InvalidInput("the run says nothing that can be read about itself")
    kept: dict[str, Any] = {name: value[name] for name in (*_TEXTS, *_NUMBERS)}
    kept["priority"] = max(-100, min(100, kept["priority"]))
    return cast("Head", {**kept, "run": run, "state": state, "owner": owner, "holder": None})


def _definition_of(value: JsonObject) -> RunDefinition:
    """The definition without what was of the place where it was submitted. Raises InvalidInput."""
    try:
        found = RunDefinition.from_json(value)
        is_readable = isinstance(found.pipeline, dict) and isinstance(found.seed, dict)
    except (KeyError, TypeError, ValueError):
        is_readable = False
    if not is_readable or found.format > DEFINITIONS or found.parent is not None:
        raise InvalidInput("the definition of the run cannot be read here")
    options = RunOptions(**{**_options(found.options), "labels": (), "skip_validation": False})
    return RunDefinition(
        pipeline=found.pipeline, seed=found.seed, options=options, seed_files=found.seed_files,
        forked_from=found.forked_from,
    )  # fmt: skip


def _options(options: RunOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("limit", "fresh", "cache", "model")}
