"""Files of a run: artifacts, logs and scratch files, each written whole or not at all."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from po_jupyter.engine.files.artifacts import AttemptFiles
from po_jupyter.engine.files.run_database import open_database
from po_jupyter.engine.ports import Dependencies
from po_jupyter.engine.stage_logs.capture import scrub_file
from po_jupyter.errors import InvalidInput, NotFound, StageFailed, StoreUnusable
from po_jupyter.platform.private_file import PRIVATE_DIRECTORY
from po_jupyter.store.files.tree import Tree
from po_jupyter.telemetry.redaction import redactor

# Letters of every script are fine; control signs, and what Windows refuses, are not.
_REFUSED = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{p}{i}" for p in ("com", "lpt") for i in range(10))})
As = Literal["text", "bytes", "json"]


def checked_name(name: str) -> PurePosixPath:
    """`name` as a relative path that stays inside its directory. Raises InvalidInput."""
    path = PurePosixPath(name)
    parts = name.split("/")
    bad = (
        not name
        or len(name) > 200
        or path.is_absolute()
        or _REFUSED.search(name)
        or any(
            p in ("", ".", "..") or p.endswith((" ", ".")) or p.split(".")[0].lower() in _DEVICES for p in parts
        )
    )
    if bad:
        raise InvalidInput(
            f"{name[:80]!r} cannot be the name of a file of a run",
            hint='Use a relative name with forward slashes, for example "report/labels.json".',
        )
    return path


class TaskIo:
    """`ctx.io`. Names are relative and may have directories; contents are text, bytes, or JSON values.

    Artifacts are shared by the tasks of a run: others see them once this task is done. Logs and scratch files
    are of one task. `append=True` adds to the end instead of replacing. Raises InvalidInput for a name that
    cannot be one, NotFound, StageFailed for a disk that cannot be written. Of a full one the run
    waits: let the StageFailed through.
    """

    def __init__(
        self,
        run_dir: Path,
        task: str,
        written: AttemptFiles | None = None,
        *,
        epoch: int = 0,
        dependencies: Dependencies | None = None,
        alone: bool = False,
    ) -> None:
        """The files of `task` in `run_dir`; `alone`, in a child run, without those that the tasks of a run share.

        `written` are those of the attempt; `epoch` is where the log last voided the outcomes of the task;
        `dependencies` records what is read.
        """
        self._artifacts = written if written is not None else AttemptFiles(run_dir, task)
        self._run_dir = run_dir
        self._task, self._epoch = task, epoch
        self._dependencies = dependencies
        self._alone = alone
        self._db: sqlite3.Connection | None = None
        self._appended: set[str] = set()  # logs, which may have a key in two pieces

    def _check_shared(self, what: str) -> None:
        if self._alone:
            raise StageFailed(
                f"rows of a map with `shards` have no {what}: they are worked on by other runs, on other machines",
                hint="Return it as the output of the row, or leave `shards` out.",
            )

    def _record(self, name: str) -> None:
        if self._dependencies is not None:
            self._dependencies.record(name)

    # One of these objects is made for each stage, and hardly any stage writes files.
    @cached_property
    def _logs(self) -> Tree:
        return Tree(self._run_dir / "logs" / self._task)

    @cached_property
    def _tmp(self) -> Tree:
        return Tree(self._run_dir / "tmp" / self._task)

    @property
    def task_dir(self) -> Path:
        """A scratch directory of this task, made at its first use."""
        self._tmp.root.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY)
        return self._tmp.root

    def write_artifact(self, name: str, content: str | bytes | Any, *, append: bool = False) -> str:
        """Write an artifact, replacing one of that name; returns its name."""
        self._check_shared("artifacts")
        return _write(self._artifacts, name, content, append)

    def read_artifact(self, name: str, as_: As | None = None) -> Any:
        """An artifact: a JSON value when its name ends in `.json`, else text, unless `as_` says. Raises NotFound."""
        self._check_shared("artifacts")
        self._record("artifacts")
        return _read(self._artifacts, name, as_)

    def artifacts(self) -> list[str]:
        """Names of the artifacts that this task can read: its own, finished tasks', and what came with the
        seed."""
        self._check_shared("artifacts")
        self._record("artifacts")
        return self._artifacts.names()

    def write_log(self, name: str, content: str | bytes | Any, *, append: bool = False) -> str:
        """Write a log of this task, without the keys that this process knows (P10); returns its name."""
        name = _write(self._logs, name, redactor.bytes(_encoded(content)), append)
        if append:
            self._appended.add(name)
        return name

    def read_log(self, name: str, as_: As | None = None) -> Any:
        """A log of this task, read as an artifact is. Raises NotFound."""
        return _read(self._logs, name, as_)

    def write_tmp(self, name: str, content: str | bytes | Any, *, append: bool = False) -> str:
        """Write a scratch file of this task; returns its name."""
        return _write(self._tmp, name, content, append)

    def read_tmp(self, name: str, as_: As | None = None) -> Any:
        """A scratch file of this task, read as an artifact is. Raises NotFound."""
        return _read(self._tmp, name, as_)

    def db(self) -> sqlite3.Connection:
        """The run's own SQLite database, shared by its tasks (WAL; another writer is waited for, 30 s).

        Opened at its first use, closed when the stage ends: committed when it ended well, else rolled back. What an
        attempt wrote is taken back when it fails or its worker dies (`files.run_database`).
        """
        self._check_shared("database")
        self._record("run")
        if self._db is None:
            self._artifacts.uses_database = True
            self._db = open_database(self._run_dir, self._artifacts.path)
        return self._db

    def batch(
        self,
        rows: Iterable[Any],
        work: Callable[[Any], Any],
        *,
        name: str = "batch",
        key: Callable[[Any], Any] | None = None,
        max_concurrency: int = 5,
    ) -> Any:
        """`work(row)` for each row, each outcome durable: `[{index, ok, output, error}]` in the order of the
        rows.

        After a crash, or in a new attempt, only rows without an output are worked on. A row is known by its
        content, or by what `key(row)` answers; equal rows are worked on each. With an async `work` this is to
        be awaited, and `max_concurrency` rows are worked on at the same time. `name` tells the batches of one
        task apart. A row's error is its outcome; BudgetExceeded and a missing key end the batch.
        """
        from po_jupyter.engine.files.durable_batch import DurableBatch, checked_rows

        checked = checked_rows(rows, max_concurrency)
        return DurableBatch(self.db(), self._task, self._epoch, name).run(checked, work, key, max_concurrency)

    def close(self, *, ok: bool = True) -> None:
        """Commit (`ok`) or roll back the database, and close it: the stage is over. Raises StageFailed."""
        for name in self._appended:
            scrub_file(self._run_dir / "logs" / self._task / name)
        self._appended.clear()
        if self._db is not None:
            db, self._db = self._db, None
            try:
                if ok:
                    db.commit()
            except sqlite3.Error as error:
                raise StageFailed(f"what io.db() wrote could not be committed: {error}") from error
            finally:
                db.close()


def _write(files: AttemptFiles | Tree, name: str, content: Any, append: bool) -> str:
    checked_name(name)
    data = _encoded(content)
    try:
        if append:
            files.append(name, data)
        else:
            files.write(name, data)
    except StoreUnusable as error:
        # The task's trouble, not the store's: the run fails with it and can be resumed.
        raise StageFailed(error.message, hint=error.hint, details=error.details) from error
    return name


def _encoded(content: Any) -> bytes:
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    if isinstance(content, str):
        return content.encode("utf-8")
    return json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False).encode("utf-8")


def _read(files: AttemptFiles | Tree, name: str, as_: As | None) -> Any:
    checked_name(name)
    try:
        data = files.read(name)
    except NotFound:
        raise NotFound(f"there is no file {name!r} in this run") from None
    except StoreUnusable as error:
        raise StageFailed(error.message, hint=error.hint, details=error.details) from error
    kind = as_ or ("json" if name.endswith(".json") else "text")
    if kind == "bytes":
        return data
    text = data.decode("utf-8")
    return json.loads(text) if kind == "json" else text
