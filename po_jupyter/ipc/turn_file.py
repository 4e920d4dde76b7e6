"""The turn file of a process that works many runs off: which run's turn it is, for who watches from outside.

The worker writes it through shared memory, twice for each step of a run, so that it is right whatever ends or stops the
process: a crash of a library, the kernel's out-of-memory killer, a regular expression that lets no other thread run.
The orchestrator reads it when the process stands still, or is dead. Numbers of the machine's own byte order:

    0   u64  the slot of the run whose step runs on the loop, from 1; 0: nobody's
    8   u64  steps so far
    64  80 bytes for each slot: u64 jobs of the run in threads, then the run's id, filled up with zeros
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

from po_jupyter.platform import private_dir
from po_jupyter.platform.private_file import open_private

SLOTS = 2048
MAX_SHARED_ROWS = 1_000  # of a map; a run with more has a process of its own
_HEAD, _SLOT, _ID = 64, 80, 8
_BYTES = _HEAD + SLOTS * _SLOT


class Turns(NamedTuple):
    """A look into a turn file: the run whose step runs on the loop, the number of that step, and the runs that have
    jobs in threads."""

    run: str | None
    step: int
    in_threads: frozenset[str]

    @property
    def suspects(self) -> frozenset[str]:
        """The runs that may have ended the process: the one on the loop, else those in threads."""
        return self.in_threads if self.run is None else frozenset((self.run,))


def turn_file_of(directory: Path, pid: int) -> Path:
    """The turn file of a process."""
    return directory / f"turns-{pid}"


class TurnFile:
    """The writer's end. Numbers are written on the loop, those of jobs under the writer's own lock."""

    def __init__(self, path: Path) -> None:
        """Make the file. Raises OSError."""
        private_dir.make(path.parent)
        fd = open_private(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            with open(fd, "wb", closefd=False) as file:
                file.write(bytes(_BYTES))  # no hole: on a full disk the first write into one is a SIGBUS
            self._map = mmap.mmap(fd, _BYTES)
        finally:
            os.close(fd)
        self.numbers = memoryview(self._map).cast("Q")  # [0] the slot whose turn it is, [1] steps
        self._free = list(range(SLOTS, 0, -1))

    def take(self, run: str) -> int:
        """A slot for the run, from 1."""
        slot = self._free.pop()
        start = _start(slot)
        self._map[start : start + _SLOT] = struct.pack(f"Q{_SLOT - _ID}s", 0, run.encode())
        return slot

    def jobs_index(self, slot: int) -> int:
        """The place in `numbers` of the jobs that a slot's run has in threads."""
        return _start(slot) // 8

    def release(self, slot: int) -> None:
        """Give a slot back; a step of its run that is still to come names nobody."""
        start = _start(slot)
        self._map[start : start + _SLOT] = bytes(_SLOT)
        self._free.append(slot)

    def close(self) -> None:
        """Unmap the file, which stays."""
        self.numbers.release()
        self._map.close()


def read_turns(path: Path) -> Turns:
    """What a turn file says now; nobody's turn where there is none."""
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    if len(data) < _BYTES:
        return Turns(None, 0, frozenset())
    slot, step = struct.unpack_from("QQ", data)
    jobs = {_run_at(data, i) for i in range(1, SLOTS + 1) if struct.unpack_from("Q", data, _start(i))[0]}
    current = _run_at(data, slot) if 1 <= slot <= SLOTS else ""
    return Turns(current or None, step, frozenset(jobs - {""}))


def _start(slot: int) -> int:
    return _HEAD + (slot - 1) * _SLOT


def _run_at(data: bytes, slot: int) -> str:
    start = _start(slot) + _ID
    return data[start : start + _SLOT - _ID].rstrip(b"\0").decode("ascii", "replace")
