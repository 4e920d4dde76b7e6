"""The part of a store's copy that is about files which nodes share (`PO_BLOBS`). Blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

from po_jupyter.config import Settings
from po_jupyter.engine.files.artifacts import Artifact, shared_file
from po_jupyter.engine.replay.history import read_history
from po_jupyter.errors import CorruptRow
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.files.tree import TEMPORARY
from po_jupyter.store.objects.opening import open_shared_files
from po_jupyter.store.objects.shared_files import PLACE, RunFile, SharedFiles
from po_jupyter.store.protocol import Store

OnProgress = Callable[[str, int, int], None]


def share_copied(
    settings: Settings, old: Store, new: Store, data_dir: Path, runs: Sequence[str], on_progress: OnProgress
) -> tuple[int, int]:
    """Have the copy share its files: what the source shared is copied within the place, and what is in `data_dir`, the
    copy's own, is put there too. How many objects there are, and their bytes; (0, 0) where nothing is shared.

    Raises StoreUnusable, Unavailable.
    """
    if settings.blobs is None:
        open_shared_files(old, None)  # raises when the source has its files somewhere
        return 0, 0
    target = open_shared_files(new, settings.blobs)
    assert target is not None
    with closing(target):
        if old.get(*PLACE) is not None:
            source = open_shared_files(old, settings.blobs)
            assert source is not None
            with closing(source):
                source.copy_to(target, lambda done: on_progress("files", done, 0))
        there = {(found.run, found.fence, found.sha256) for found in target.run_objects()}
        for done, run in enumerate(runs):
            on_progress("files", done, len(runs))
            _keep(target, new, run, data_dir / "runs" / run, there)
        rows = RowFiles(data_dir, target)
        for path in sorted((data_dir / "blobs").glob("*/*.ndjson")):
            if not path.name.startswith(TEMPORARY):
                rows.keep(path)
        infos = [*(found.info for found in target.run_objects()), *(info for _, info in target.rows())]
    return len(infos), sum(info.bytes for info in infos)


def _keep(files: SharedFiles, store: Store, run: str, run_dir: Path, there: set[tuple[str, int, str]]) -> None:
    """Put the artifacts of a run that are in its directory and not in the place."""
    if not run_dir.is_dir():
        return
    try:
        listed = [RunFile(*shared_file(cast("Artifact", entry))) for entry in read_history(store, run).listed]
    except (CorruptRow, KeyError, TypeError, ValueError):
        return  # a log that cannot be read was copied as it is
    new = [file for file in listed if (run, file.fence, file.sha256) not in there]
    files.keep(run, run_dir, [file for file in new if (run_dir / file.path).is_file()])
