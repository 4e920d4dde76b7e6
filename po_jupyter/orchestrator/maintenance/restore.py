"""Restore of a data directory from an archive of `po backup`, into a directory that is empty. It blocks."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import cast

from po_jupyter.errors import Conflict, InvalidInput, NotFound, StoreUnusable
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.view import ENDED
from po_jupyter.orchestrator.maintenance.archive import (
    MANIFEST,
    STORE,
    VERSION,
    BackupManifest,
    BackupReport,
    FileCounts,
)
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from po_jupyter.platform import private_dir, private_file, processes
from po_jupyter.store.disk.snapshot import check_whole, read_format, read_lease
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.files.tree import TEMPORARY

_MAY_BE_THERE = frozenset({"lost+found"})  # of the file system itself


def restore(archive: Path, data_dir: Path, *, allow_network: bool) -> BackupReport:
    """Make `data_dir` what it was when `archive` was made: all of it, or nothing. Raises PoError."""
    archive, data_dir = archive.absolute(), data_dir.absolute()
    if not archive.is_file():
        raise NotFound(f"there is no archive {archive}")
    _check_empty(data_dir)
    private_dir.prepare(data_dir, allow_network=allow_network)
    staging = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}restore-", dir=data_dir))
    try:
        manifest, files = _unpack(archive, staging)
        counts = check_whole(staging / STORE)
        if (counts, files) != (manifest["store"], manifest["files"]):
            raise _not_whole(
                archive, f"it has {counts} and {files}, and says {manifest['store']}, {manifest['files']}"
            )
        _delete_runs(staging / STORE, manifest["deleted"])
        if hasattr(os, "sync"):
            os.sync()
        _check_empty(data_dir, but=staging.name)
        # The store at last: without it the directory is none of a server's, and what is there is refused next time.
        for name in sorted(os.listdir(staging), key=lambda name: name == STORE):
            os.rename(staging / name, data_dir / name)
        private_dir.sync(data_dir)
    except OSError as error:
        raise StoreUnusable(
            f"the backup cannot be restored: {error.filename or data_dir}: {error.strerror or error}",
            details={"path": str(data_dir)},
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return {
        "archive": str(archive), "data_dir": str(data_dir), "bytes": archive.stat().st_size,
        "made_at": manifest["made_at"], "store": counts, "files": files,
    }  # fmt: skip


def _check_empty(data_dir: Path, but: str = "") -> None:
    if not data_dir.exists():
        return
    try:
        there = set(os.listdir(data_dir)) - _MAY_BE_THERE - {but}
    except OSError as error:
        raise StoreUnusable(f"{data_dir} cannot be read: {error.strerror}") from None
    lease = read_lease(data_dir / STORE) if STORE in there else None
    if lease is not None and (processes.alive(lease) or not processes.is_local(lease)):
        raise Conflict(
            f"a server is at work on {data_dir} (process {lease.get('pid')}); nothing is restored over it",
            hint="Name an empty directory: po restore ARCHIVE --to DIRECTORY.",
        )
    if there:
        raise Conflict(
            f"{data_dir} is not empty ({', '.join(sorted(there)[:3])}); nothing is restored over what is there",
            hint="Name an empty directory, --to DIRECTORY, or move the old one away.",
        )


def _unpack(archive: Path, staging: Path) -> tuple[BackupManifest, FileCounts]:
    files: FileCounts = {"files": 0, "bytes": 0}
    manifest: BackupManifest | None = None
    try:
        with gzip.open(archive) as raw, tarfile.open(fileobj=raw, mode="r|") as tar:
            for member in tar:
                if manifest is not None:
                    raise _not_whole(archive, "something follows its manifest")
                if member.name == MANIFEST:
                    content = tar.extractfile(member)
                    assert content is not None
                    manifest = _checked(json.loads(content.read()), archive)
                    continue
                _extract(tar, member, staging, archive)
                if member.isfile() and not member.name.startswith(f"{STORE}/"):
                    files["files"] += 1
                    files["bytes"] += member.size
            while raw.read(2**20):
                pass  # to the end: its checksum is there
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise _not_whole(archive, str(error)) from error
    if manifest is None:
        raise _not_whole(archive, "its end is missing")
    return manifest, files


def _checked(manifest: object, archive: Path) -> BackupManifest:
    if not isinstance(manifest, dict) or type(manifest.get("version")) is not int:
        raise _not_whole(archive, "its manifest is none")
    if manifest["version"] > VERSION:
        raise InvalidInput(
            f"{archive} was made by a newer po_jupyter ({manifest.get('po_jupyter')})",
            hint="Restore it with that version.",
        )
    if not BackupManifest.__required_keys__ <= manifest.keys():
        raise _not_whole(archive, "its manifest lacks something")
    return cast("BackupManifest", manifest)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, staging: Path, archive: Path) -> None:
    """Write one member, for its user alone. Only files and directories, and none outside."""
    parts = PurePosixPath(member.name).parts
    if not parts or member.name.startswith("/") or ".." in parts or (os.sep != "/" and os.sep in member.name):
        raise _not_whole(archive, f"{member.name!r:.80} would be outside of the directory")
    target = staging.joinpath(*parts)
    for depth in range(1, len(parts) + member.isdir()):  # one by one: `parents` would make them open to others
        staging.joinpath(*parts[:depth]).mkdir(mode=private_file.PRIVATE_DIRECTORY, exist_ok=True)
    if member.isdir():
        return
    content = tar.extractfile(member) if member.isfile() else None
    if content is None:
        raise _not_whole(archive, f"{member.name!r:.80} is neither a file nor a directory")
    fd = private_file.open_new(target, like=member.mode)
    with os.fdopen(fd, "wb") as file:
        shutil.copyfileobj(content, file)
    os.utime(target, (member.mtime, member.mtime))


def _delete_runs(path: Path, runs: list[str]) -> None:
    """Delete runs that somebody deleted while their files were copied; what they used stays counted."""
    store = DiskStore(path, shards=read_format(path)["shards"], checked=True)
    try:
        for run in runs:
            if store.head(run)["state"] not in ENDED:
                store.request(run, [draft("run.cancelled")], "cancelled")
            DailyUsage(store).count([store.head(run)])
            store.delete_run(run)
    finally:
        store.close()


def _not_whole(archive: Path, reason: str) -> InvalidInput:
    return InvalidInput(
        f"{archive} is not a whole archive of `po backup`: {reason}", hint="Nothing was restored."
    )
