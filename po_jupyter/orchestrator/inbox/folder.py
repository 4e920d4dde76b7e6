"""The watch folder on the disk: finds the files that are ready, makes runs of them, moves them. See `watcher`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from po_jupyter.config import Settings
from po_jupyter.engine.files.artifacts import SEED_FILES, shared_seed_file
from po_jupyter.errors import (
    InvalidSeed,
    NotFound,
    PoError,
    StoreError,
    StoreUnusable,
    Unavailable,
    Violation,
)
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.events import now
from po_jupyter.model.run.view import ENDED
from po_jupyter.orchestrator.environment import preflight
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.examination.operations import Examine
from po_jupyter.orchestrator.inbox import seed_file, transitions
from po_jupyter.orchestrator.inbox.archive import SeedZip
from po_jupyter.orchestrator.submission.pipeline_files import PipelineFiles
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.orchestrator.submission.request import Submission, check_submission, new_run
from po_jupyter.orchestrator.views.artifacts import seed_files_of
from po_jupyter.platform import file_lock, private_file
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store import diagnosis
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.objects.shared_files import RunFile, SharedFiles
from po_jupyter.store.protocol import Head, NewRun, Store

log = structlog.get_logger(__name__)

_LOCK = ".po-lock"
_RESERVED = (transitions.DEFINITION, transitions.RESULT)  # names that stand beside a seed's file

FileStamp = tuple[int, int, int, int]  # device, inode, time of change (ns), size


class TakenFile(NamedTuple):
    """The fate of one file: a run, or its name in `rejected`; neither: it is to be looked at later."""

    new: NewRun | None = None
    head: Head | None = None
    fresh: bool = False
    rejected: str | None = None


class InboxFolder:
    """The watch folder of one store. Everything blocks: call it in a thread, one call at a time."""

    def __init__(
        self, settings: Settings, store: Store, registry: PipelineRegistry, *, owner: str,
        pipelines: PipelineFiles | None = None, keys: KeyStore | None = None, examine: Examine | None = None,
        rows: RowFiles | None = None, files: SharedFiles | None = None,
    ) -> None:  # fmt: skip
        """Seeds are `owner`'s, and name pipelines of `registry`, which `pipelines` keeps up to date; `rows` has the
        files of rows that they name (default: those of the data directory), `files` are those that nodes share."""
        self._files = files
        self._rows = rows or RowFiles(settings.data_dir)
        self._keys = keys or KeyStore(settings.data_dir, settings.hub_url)
        assert settings.inbox_dir is not None
        self.root = settings.inbox_dir
        self.places = transitions.InboxPlaces(
            settings.inbox_pending, settings.inbox_current, settings.inbox_complete, settings.inbox_rejected
        )
        self.pending = self.root / self.places.pending
        self._settings = settings
        self._examine = examine
        self._store = store
        self._registry = registry
        self._owner = owner
        self._pipelines = pipelines
        self._intents = transitions.open_intents(self.root, store)
        self._seen: dict[str, tuple[FileStamp, float]] = {}
        self._unmovable: dict[
            str, FileStamp
        ] = {}  # what could not be moved at all, so that it is not tried for ever
        self._lock: int | None = None

    # -- life -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the directories, lock the folder, finish what a crash left. StoreUnusable, Unavailable."""
        try:
            for name in self.places:
                diagnosis.make(self.root / name)
            self._lock = _lock(self.root / _LOCK)
        except OSError as error:
            raise diagnosis.unusable_os(error, self.root) from None
        for outcome in self._intents.recover():
            log_line = log.error if outcome.result == "stuck" else log.info
            log_line("an interrupted move", what=outcome.name, result=outcome.result, reason=outcome.reason)

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- looking --------------------------------------------------------------------------------

    def ready(self) -> tuple[list[str], float | None]:
        """Files unchanged for `inbox_stable` seconds, oldest first; seconds until another may be ready."""
        ready: list[tuple[int, str]] = []
        seen: dict[str, tuple[FileStamp, float]] = {}
        due: float | None = None
        clock, stable = time.monotonic(), self._settings.inbox_stable
        try:
            entries = list(os.scandir(self.pending))
        except FileNotFoundError:
            diagnosis.make(self.pending)
            entries = []
        for entry in entries:
            name = entry.name
            if name.startswith(".") or not name.endswith(
                (self._settings.inbox_suffix, self._settings.inbox_zip_suffix)
            ):
                continue
            with suppress(FileNotFoundError):  # gone again
                stamp = _stamp(entry.stat(follow_symlinks=False))
                if self._unmovable.get(name) == stamp:
                    continue
                before = self._seen.get(name)
                since = before[1] if before is not None and before[0] == stamp else clock
                seen[name] = stamp, since
                if clock - since >= stable:
                    ready.append((stamp[2], name))
                else:
                    due = min(due if due is not None else stable, stable - (clock - since))
        self._seen = seen
        return [name for _, name in sorted(ready)], due

    def current_runs(self) -> list[str]:
        """Runs whose files are in `current`."""
        return self._intents.tree.names(self.places.current)

    # -- taking in ------------------------------------------------------------------------------

    def take_in(self, name: str) -> TakenFile:
        """Make a run of `pending/NAME`, or reject it. Raises StoreError; the file is where it was then."""
        path = self.pending / name
        try:
            return self._make_run(name, path)
        except FileNotFoundError:
            return TakenFile()
        except StoreError:
            raise
        except Unavailable as error:  # of what nodes share: it is no fault of the file
            raise StoreUnusable(error.message, hint=error.hint) from None
        except PoError as error:
            return self._rejected(name, path, error)
        except OSError as error:
            return self._rejected(name, path, InvalidSeed(f"it cannot be read: {error.strerror}"))

    def _make_run(self, name: str, path: Path) -> TakenFile:
        with seed_file.opened(path) as file:
            stamp = _stamp(os.fstat(file.fileno()))
            if name in _RESERVED:
                raise InvalidSeed(f"a seed's file cannot be called {name}")
            content = seed_file.digest(file)
            file.seek(0)
            archive = SeedZip(file, self._settings) if name.endswith(self._settings.inbox_zip_suffix) else None
            value = archive.seed() if archive is not None else seed_file.read_json(file, self._settings)
            new = self._planned(name, stamp, content, value, os.fstat(file.fileno()).st_ctime_ns)
            if archive is not None:
                archive.verify()
            if _stamp(os.fstat(file.fileno())) != stamp or _stamp(path.lstat()) != stamp:
                return TakenFile()  # somebody writes to it after all
            if archive is not None:
                new = self._unpacked(new, archive)
        try:
            head, fresh = transitions.take_in(self._intents, self._store, new, name, places=self.places)
        except BaseException:
            if archive is not None:
                self._forget_artifacts(new.run)
            raise
        if archive is not None and head["run"] != new.run:
            self._hand_over(new.run, head["run"])
        log.info("taken in", file=name_as_text(name), run=head["run"], pipeline=head["pipeline"])
        return TakenFile(new, head, fresh)

    def _unpacked(self, new: NewRun, archive: SeedZip) -> NewRun:
        """The run with the files of its archive, also where other nodes find them, before it is created. Raises
        InvalidSeed, StoreUnusable, Unavailable; nothing is left here then."""
        self._forget_artifacts(new.run)  # what a crash left of an earlier try
        run_dir = self._settings.data_dir / "runs" / new.run
        try:
            archive.unpack(run_dir)
            if self._files is None:
                return new
            found = seed_files_of(run_dir)
            self._files.keep(new.run, run_dir, [RunFile(*shared_seed_file(file)) for file in found])
        except BaseException:
            self._forget_artifacts(new.run)
            raise
        return new._replace(definition={**new.definition, "seed_files": found})

    def _planned(self, name: str, stamp: FileStamp, content: str, value: Any, changed: int) -> NewRun:
        """The run of this very file: planned again, it is the same one. Raises InvalidInput, NotFound."""
        if self._pipelines is not None:
            self._pipelines.refresh()
        violations = seed_file.seed_violations(value, self._registered)
        if violations:
            raise InvalidSeed("the seed cannot be used:", violations=violations)
        # A file has no caller: it has the permissions that its pipeline was registered with.
        code_allowed = self._registry.code_allowed(value["pipeline"], self._owner)
        project = self._pipelines.project if self._pipelines is not None and code_allowed else None
        submission = Submission(seed=value, cwd=None if project is None else str(project))
        pipeline, seed = check_submission(
            submission,
            self._registered,
            code_allowed=code_allowed,
            settings=self._settings,
            examine=self._examine,
        )
        self._rows.check(self._owner, seed.data, seed.index)
        key = hashlib.sha256(json.dumps([name, *stamp, content]).encode()).hexdigest()
        # Not the wall clock: after a crash the same file must be planned as the same run.
        at = min(changed // 1_000_000, time.time_ns() // 1_000_000)
        new = new_run(submission, pipeline, seed, self._owner, code_allowed=code_allowed)
        new = new._replace(run=f"{at:012x}{key[:10]}", idempotency_key=f"inbox:{key}", request_hash=key)
        try:
            self._store.head(new.run)  # a crash came in between: it runs already, whatever became of the keys
        except NotFound:
            if not self._settings.skip_validation:
                preflight.check(pipeline, self._settings, self._keys)
        return new

    def _registered(self, name: str) -> Pipeline:
        try:
            return self._registry.pipeline(name, self._owner)
        except NotFound as error:
            problem = self._pipelines.problems.get(name) if self._pipelines is not None else None
            if problem is None:
                raise
            raise InvalidSeed(violations=[Violation("pipeline", f"{error.message}: {problem}")]) from None

    def _forget_artifacts(self, run: str) -> None:
        try:
            self._store.head(run)
        except NotFound:
            shutil.rmtree(self._settings.data_dir / "runs" / run, ignore_errors=True)
        except StoreError:
            pass  # cannot be asked now; retention removes directories without a run

    def _hand_over(self, planned: str, run: str) -> None:
        """The run was planned under another id before a crash: the artifacts are its."""
        runs = self._settings.data_dir / "runs"
        if (runs / run / SEED_FILES).exists():
            shutil.rmtree(runs / planned, ignore_errors=True)
        else:
            diagnosis.make(runs / run)
            os.replace(runs / planned / SEED_FILES, runs / run / SEED_FILES)
            crashpoint("file.moved")

    def _rejected(self, name: str, path: Path, error: PoError) -> TakenFile:
        reason = {"file": name_as_text(name), "at": now(), "error": error.to_json()}
        log.warning("rejected", file=name_as_text(name), error=error.message)
        try:
            return TakenFile(rejected=transitions.reject(self._intents, name, reason, places=self.places))
        except NotFound:
            return TakenFile()
        except StoreError:
            raise
        except PoError as problem:
            # A link, a pipe: nothing of ours moves it. The reason is written, and it is left alone.
            log.error("cannot be moved away", file=name_as_text(name), error=problem.message)
            with suppress(OSError):
                self._unmovable[name] = _stamp(path.lstat())
            stem, suffix = transitions.short_name(name)
            reason_path = f"{self.places.rejected}/{stem}{suffix}{transitions.REASON}"
            self._intents.tree.write(reason_path, transitions.as_text({**reason, "left": problem.message}))
            return TakenFile(rejected=name)

    # -- putting away ---------------------------------------------------------------------------

    def settle(self, run: str) -> bool:
        """Put the files of `run` away when it ended (or is gone); True when something changed."""
        tree = self._intents.tree
        is_current = tree.identity(f"{self.places.current}/{run}") is not None
        is_complete = not is_current and tree.identity(f"{self.places.complete}/{run}") is not None
        if not is_current and not is_complete:
            return False
        try:
            head = self._store.head(run)
        except NotFound:
            return is_current and transitions.put_away(
                self._intents, run, result={"run": run, "state": "deleted"}, places=self.places
            )
        if head["state"] not in ENDED:
            return False
        result = {
            "run": run, "state": head["state"], "ended_at": head["updated_at"],
            "name": head["name"], "pipeline": head["pipeline"], "version": head["version"],
        }  # fmt: skip
        if is_current:
            return transitions.put_away(self._intents, run, result=result, places=self.places)
        path, text = f"{self.places.complete}/{run}/{transitions.RESULT}", transitions.as_text(result)
        with suppress(NotFound):
            if tree.read(path) == text:
                return False
        tree.write(path, text)  # it was resumed, and ended again
        return True


def _stamp(info: os.stat_result) -> FileStamp:
    return info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size


def name_as_text(name: str) -> str:
    """A file's name as text: it may be any bytes."""
    return name.encode("utf-8", "replace").decode("utf-8")[:300]


def _lock(path: Path) -> int:
    """A descriptor that holds the folder's lock. Raises Unavailable when another process has it."""
    fd = private_file.open_private(path, os.O_RDWR | os.O_CREAT)
    if not file_lock.try_lock(fd):
        os.close(fd)
        raise Unavailable(
            f"another orchestrator works on the watch folder {path.parent}",
            hint="Each data directory needs a watch folder of its own (inbox_dir).",
        )
    return fd
