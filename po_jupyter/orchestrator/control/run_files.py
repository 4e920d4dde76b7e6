"""The directory of a run: its artifacts, logs and worker's log, beside its rows in the store."""

from __future__ import annotations

import shutil
from pathlib import Path


def run_directory(data_dir: Path, run: str) -> Path:
    """The directory of a run's files."""
    return data_dir / "runs" / run


def remove_run_directory(data_dir: Path, run: str) -> None:
    """Remove the files of a run that is gone; links in it are removed, not followed."""
    shutil.rmtree(run_directory(data_dir, run), ignore_errors=True)
