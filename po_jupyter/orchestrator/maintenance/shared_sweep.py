"""What is nobody's in the place that nodes share: of runs that are gone, of workers that died before their commit, rows
that no run uses. It blocks: call it in a thread."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from itertools import groupby

import structlog

from po_jupyter.engine.files.artifacts import Artifact, shared_file
from po_jupyter.engine.replay.history import read_history
from po_jupyter.errors import CorruptRow, NotFound, PoError
from po_jupyter.store.objects.protocol import ObjectInfo
from po_jupyter.store.objects.shared_files import RunObject, SharedFiles
from po_jupyter.store.protocol import Store

log = structlog.get_logger(__name__)

_NEW = 3600.0  # s; objects without a run may be of one that is being created
_ROWS = 86_400.0  # s; rows are uploaded before the run that uses them is submitted


def sweep_shared(files: SharedFiles, store: Store, used_rows: Collection[str]) -> int:
    """Remove it; the bytes. `used_rows` are hashes of rows that a run uses. What cannot be looked at now is left."""
    freed = 0
    try:
        # Sorted: a page of a listing may end within a run.
        objects = sorted(files.run_objects(), key=lambda found: found.run)
        for run, group in groupby(objects, key=lambda found: found.run):
            freed += _remove(files, list(_unlisted(store, run, list(group))))
        freed += _remove(files, list(_unused_rows(files, used_rows)))
    except PoError as error:
        log.warning("the files that nodes share were not cleaned", place=files.place, error=error.message)
    return freed


def _remove(files: SharedFiles, infos: list[ObjectInfo]) -> int:
    files.remove(infos)
    return sum(info.bytes for info in infos)


def _unlisted(store: Store, run: str, objects: list[RunObject]) -> Iterator[ObjectInfo]:
    """The objects of a run that no commit lists, and that none will."""
    try:
        fence = store.head(run)["fence"]
        # Read after the fence: whoever had an earlier one commits nothing more. 0 is what came with the seed.
        earlier = [found for found in objects if 0 < found.fence < fence]
        if not earlier:
            return
        listed = {_place(entry) for entry in read_history(store, run).listed}
    except NotFound:
        newest = max(found.info.modified for found in objects)
        if time.time() - newest > _NEW:
            yield from (found.info for found in objects)
        return
    except (CorruptRow, KeyError, TypeError, ValueError):
        return  # of a log that cannot be read: a person decides about those
    yield from (found.info for found in earlier if (found.fence, found.sha256) not in listed)


def _place(entry: Artifact) -> tuple[int, str]:
    _, fence, digest = shared_file(entry)
    return fence, digest


def _unused_rows(files: SharedFiles, used: Collection[str]) -> Iterator[ObjectInfo]:
    now = time.time()
    for digest, info in files.rows():
        if digest not in used and now - info.modified > _ROWS:
            newest = files.still(info)  # anew: whoever submits rows puts them again first
            if newest is not None and now - newest.modified > _ROWS:
                yield newest
