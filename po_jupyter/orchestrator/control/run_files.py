"""The directory of a run: its artifacts, logs and worker's log, beside its rows in the store."""

from __future__ import annotations

import shutil
from pathlib import Path

import structlog

from po_jupyter.errors import PoError
from po_jupyter.store.objects.shared_files import SharedFiles

log = structlog.get_logger(__name__)


def run_directory(data_dir: Path, run: str) -> Path:
    """The directory of a run's files."""
    return data_dir / "runs" / run


def remove_run_directory(data_dir: Path, run: str) -> None:
    """Remove the files of a run that is gone; links in it are removed, not followed."""
    shutil.rmtree(run_directory(data_dir, run), ignore_errors=True)


def remove_run_files(data_dir: Path, shared: SharedFiles | None, run: str) -> None:
    """Remove the files of a run that is gone, here and where nodes share them; what cannot be removed there now, the
    next cleaning removes."""
    remove_run_directory(data_dir, run)
    if shared is not None:
        try:
            shared.remove_run(run)
        except PoError as error:
            log.warning("the shared files of a deleted run stay for now", run=run, error=error.message)
