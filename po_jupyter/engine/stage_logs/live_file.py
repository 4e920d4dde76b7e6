"""The live log file: it becomes the log of a stage once something is written to it.

Nearly every stage writes nothing past Python, and a file made and removed for each of them costs more than the
rest of a small stage. So one empty file goes from stage to stage, as `RUN_DIR/TASK.STAGE.live`: while a stage
runs, and after a crash in it, the name says which stage wrote.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from po_jupyter.platform import private_file

LIVE = ".live"


class LiveLogFile:
    """The live file of one process and one run. Its methods raise OSError."""

    def __init__(self, run_dir: Path) -> None:
        """No file yet; it is made in `run_dir`."""
        self._dir = os.fspath(run_dir)
        self._fd: int | None = None
        self._path = ""

    def open(self, log: Path) -> int:
        """A descriptor of the file that becomes `log`; the caller kept what was written for another log before."""
        path = f"{self._dir}/{log.parent.name}.{log.stem}{LIVE}"
        if self._fd is None:
            self._fd = private_file.open_log(path)
        else:
            os.replace(self._path, path)
        self._path = path
        return self._fd

    def move_to(self, log: Path, *, empty: bool = False) -> None:
        """Make the file `log`, which its descriptors lead to then. An empty file stays, unless `empty` is true."""
        if self._fd is not None and (empty or os.fstat(self._fd).st_size):
            os.close(self._fd)
            self._fd = None
            move_to_log(Path(self._path), log)

    def close(self) -> None:
        """Remove the empty file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            with suppress(OSError):
                os.unlink(self._path)


def move_to_log(live: Path, log: Path) -> None:
    """Make the file `live` the log `log`, or its end when there is one. Raises OSError."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=private_file.PRIVATE_DIRECTORY)
    if log.exists():
        with live.open("rb") as source, log.open("ab") as target:
            shutil.copyfileobj(source, target)
        live.unlink()
    else:
        live.rename(log)


def stage_of_live_file(name: str) -> tuple[str, str] | None:
    """The task and the stage whose output a file in a run's directory is; None for another file."""
    task, _, rest = name.partition(".")
    stage = rest.removesuffix(LIVE)
    return (task, stage) if stage != rest else None


def leftover_files(run_dir: Path) -> list[tuple[Path, Path]]:
    """The live files that a worker which crashed left, each with the log that it belongs to."""
    logs = run_dir / "logs"
    stages = [(name, stage_of_live_file(name)) for name in sorted(os.listdir(run_dir))]
    return [(run_dir / name, logs / stage[0] / f"{stage[1]}.log") for name, stage in stages if stage]
