"""Backup of a data directory into one file, while runs go on. It blocks: the terminal runs it in a process of its own.

Documents, then logs, then files: so nothing in the copy names what is not in it. Files of a run that are newer than its
copied log are in no list there, as after a crash, and its next worker removes them. A run's own database is copied at a
moment when its log stands still.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from po_jupyter import __version__
from po_jupyter.errors import Conflict, InvalidInput, StoreUnusable
from po_jupyter.model.run.events import now
from po_jupyter.orchestrator.maintenance.archive import (
    MANIFEST,
    STORE,
    VERSION,
    WRITTEN_ONCE,
    ArchiveWriter,
    BackupManifest,
    BackupReport,
    is_database,
)
from po_jupyter.store.disk.snapshot import StoreSnapshot, check_whole, copy_database
from po_jupyter.store.files.tree import TEMPORARY
from po_jupyter.store.keyed.copying import heads_of

# What is of the processes that run now: sockets, addresses and tokens of servers, their logs.
_OF_PROCESSES = frozenset({"runtime", "logs", "lost+found"})
_TRIES = 50  # to find a moment in which a run's log stands still while its database is copied
_PAUSE = 0.05  # s between two of them


def back_up(data_dir: Path, archive: Path) -> BackupReport:
    """Make `archive` of `data_dir`: it is there whole, or not at all. Raises PoError."""
    archive, data_dir = archive.absolute(), data_dir.absolute()
    if archive.resolve().is_relative_to(data_dir.resolve()):
        raise InvalidInput(f"{archive} is inside of what is copied, {data_dir}", hint="Name another place.")
    if archive.exists():
        raise Conflict(f"{archive} is there already; it is not overwritten")
    try:
        with tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}backup-", dir=archive.parent) as staging:
            return _Backup(data_dir, Path(staging)).make(archive)
    except OSError as error:
        raise StoreUnusable(
            f"the backup cannot be made: {error.filename or archive}: {error.strerror or error}",
            hint="Nothing is left of it. Beside the archive it needs room for a copy of the store.",
            details={"path": str(archive)},
        ) from error


class _Backup:
    def __init__(self, data_dir: Path, staging: Path) -> None:
        self._data_dir, self._staging = data_dir, staging
        self._copies: dict[Path, Path] = {}  # of databases beside the store

    def make(self, archive: Path) -> BackupReport:
        store = self._staging / STORE
        snapshot = StoreSnapshot(self._data_dir / STORE, store)
        try:
            for head in list(heads_of(snapshot.store)):
                self._copy_run_databases(snapshot, head["run"], head["n"])
            snapshot.release()
            runs = [head["run"] for head in heads_of(snapshot.store)]
        finally:
            snapshot.store.close()
        counts = check_whole(store)
        for name in self._top_level():
            for path in _databases(self._data_dir / name):
                self._copy(path)
        whole = self._staging / "whole.tar.gz"
        with ArchiveWriter(whole, self._copies) as out:
            out.add_tree(store, STORE)
            for name in self._top_level():
                out.add_tree(self._data_dir / name, name)
            for run in runs:
                out.add_tree(self._data_dir / "runs" / run, f"runs/{run}")
            manifest: BackupManifest = {
                "version": VERSION, "po_jupyter": __version__, "made_at": now(), "store": counts, "files": out.files,
                "deleted": [run for run in runs if not snapshot.live_record(run)],
            }  # fmt: skip
            out.add_bytes(MANIFEST, json.dumps(manifest, indent=1).encode())
        size = whole.stat().st_size
        _place(whole, archive)
        return {
            "archive": str(archive), "data_dir": str(self._data_dir), "bytes": size, "made_at": manifest["made_at"],
            "store": counts, "files": out.files, "passed_over": out.passed_over,
        }  # fmt: skip

    def _top_level(self) -> list[str]:
        left_out = _OF_PROCESSES | {STORE, "runs"}
        return sorted(name for name in os.listdir(self._data_dir) if name not in left_out)

    def _copy_run_databases(self, snapshot: StoreSnapshot, run: str, copied: int) -> None:
        """Copy the databases of a run as they were while the last record in the copy was the last one that there was.

        Of a run that never stands still, the log is the older of the two, as after a crash.
        """
        databases = list(_databases(self._data_dir / "runs" / run, WRITTEN_ONCE))
        for _ in range(_TRIES if databases else 0):
            if snapshot.live_record(run) != copied:
                copied = snapshot.copy_again(run)
            for path in databases:
                self._copy(path)
            if snapshot.live_record(run) == copied:
                return
            time.sleep(_PAUSE)

    def _copy(self, path: Path) -> None:
        target = self._copies.setdefault(path, self._staging / f"{len(self._copies)}.db")
        target.unlink(missing_ok=True)
        try:
            copy_database(path, target)
        except sqlite3.Error:  # it only looks like one, or is damaged: it is a file as any other
            shutil.copyfile(path, target)


def _databases(place: Path, written_once: frozenset[str] = frozenset()) -> Iterator[Path]:
    """The SQLite databases of a place, which somebody may write to; not those in its directories `written_once`."""
    if is_database(place):
        yield place
    for folder, folders, names in os.walk(place):
        if Path(folder) == place:
            folders[:] = [name for name in folders if name not in written_once]
        yield from (path for name in names if is_database(path := Path(folder, name)))


def _place(whole: Path, archive: Path) -> None:
    try:
        os.link(whole, archive)  # where somebody made one meanwhile it fails: a rename would replace it
    except FileExistsError:
        raise Conflict(f"{archive} is there already; it is not overwritten") from None
    except OSError:  # a file system without links
        os.replace(whole, archive)
