"""The audit log (B15) of every change with its user and time: an append-only file of JSON lines in the data directory.

    audit/audit.jsonl        {at, by, action, ...}; one line is one change that was made
    audit/audit-TIME.jsonl   what was there before the file grew large; never deleted by itself

A line is written after its change and before the answer that reports it, those that come at the same time together. It
is a single append, so several servers of one data directory share the file; a line cut off by a power cut is skipped by
readers.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import structlog

from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.events import now
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.whole_numbers import whole_number
from po_jupyter.platform import private_file
from po_jupyter.store import diagnosis
from po_jupyter.telemetry.redaction import redactor

log = structlog.get_logger(__name__)

_ROTATE = 16 * 1024 * 1024  # bytes
_BLOCK = 64 * 1024


class AuditLog:
    """The log of one data directory. Every method blocks: call it in a thread."""

    def __init__(self, directory: Path) -> None:
        """`directory` is made with the first line."""
        self._directory = directory
        self._file = directory / "audit.jsonl"
        self._unwritten: deque[tuple[JsonObject, bytes]] = deque()
        self._writing = Lock()

    def append(self, *, by: str, action: str, **about: object) -> None:
        """Write one line, durably. A disk that refuses is logged: the change was made already."""
        entry = redactor.value({"at": now(), "by": by, "action": action, **about})
        self._unwritten.append((entry, json.dumps(entry, ensure_ascii=True).encode() + b"\n"))
        with self._writing:  # whoever had it before wrote our line as well, or it is still there
            together = [self._unwritten.popleft() for _ in range(len(self._unwritten))]
            if together:
                self._write(together)

    def _write(self, together: list[tuple[JsonObject, bytes]]) -> None:
        try:
            diagnosis.make(self._directory)
            fd = private_file.open_log(self._file)
            try:
                os.write(fd, b"".join(line for _, line in together))
                os.fsync(fd)
                large = os.fstat(fd).st_size > _ROTATE
            finally:
                os.close(fd)
            if large:
                os.replace(self._file, self._directory / f"audit-{time.time_ns():020d}.jsonl")
        except OSError as error:
            for entry, _ in together:
                log.error("the audit log cannot be written", entry=entry, error=error.strerror)

    def read(self, *, cursor: str | None = None, limit: int = 100) -> tuple[list[JsonObject], str | None]:
        """The newest entries first, and the cursor of the page after them. InvalidInput for a wrong cursor."""
        files = [*sorted(self._directory.glob("audit-*.jsonl")), self._file]
        names = [f.name for f in files]
        end: int | None = None
        if cursor is not None:
            name, _, offset = cursor.rpartition(":")
            end = whole_number(offset)
            if name not in names or end is None:
                raise InvalidInput(
                    "that is not a cursor of this list", hint="Pass the `next` of the page before."
                )
            files = files[: names.index(name) + 1]
        entries: list[JsonObject] = []
        for file in reversed(files):
            for at, line in _backwards(file, end):
                if len(entries) == limit:
                    return entries, f"{file.name}:{at + len(line) + 1}"
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    entries.append(entry)
            end = None
        return entries, None


def _backwards(path: Path, end: int | None) -> Iterator[tuple[int, bytes]]:
    """The lines before `end` (None: all) from the last to the first, each with its offset."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        size = file.seek(0, 2)
        at = size if end is None else min(end, size)
        rest = b""
        while at > 0:
            step = min(_BLOCK, at)
            at -= step
            file.seek(at)
            block = file.read(step) + rest
            first, *lines = block.split(b"\n")
            offset = at + len(block)
            for line in reversed(lines):
                offset -= len(line)
                if line:
                    yield offset, line
                offset -= 1
            rest = first
        if rest:
            yield 0, rest
