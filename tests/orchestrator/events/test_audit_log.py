"""B15: who changed what, and when."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.orchestrator.events.audit_log import AuditLog


def test_the_audit_log_is_read_backwards_in_pages(tmp_path: Path) -> None:
    """B15, P8: every entry once, over rotated files and around a line that a power cut cut off."""
    log = AuditLog(tmp_path / "audit")
    assert log.read() == ([], None)
    for i in range(250):
        log.append(by="me", action="cancel", run=f"r{i}", note="x" * 500)
    path = tmp_path / "audit" / "audit.jsonl"
    path.rename(tmp_path / "audit" / "audit-00000000000000000001.jsonl")
    for i in range(250, 300):
        log.append(by="me", action="cancel", run=f"r{i}")
    with path.open("ab") as file:
        file.write(b'{"at": "2026-11-22T1')
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page, cursor = log.read(cursor=cursor, limit=70)
        seen += [e["run"] for e in page]
        if cursor is None:
            break
    assert seen == [f"r{i}" for i in reversed(range(300))]
    assert path.stat().st_mode & 0o077 == 0
    for wrong in ("x", "audit.jsonl:-1", "../../etc/passwd:3", ":"):
        with pytest.raises(InvalidInput, match="cursor"):
            log.read(cursor=wrong)


def test_a_full_log_gives_way_to_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B15: rotated by size, nothing is lost."""
    monkeypatch.setattr("po_jupyter.orchestrator.events.audit_log._ROTATE", 2000)
    log = AuditLog(tmp_path)
    for i in range(100):
        log.append(by="me", action="submit", run=f"r{i}")
    assert len(list(tmp_path.iterdir())) > 2
    assert [e["run"] for e in log.read(limit=100)[0]] == [f"r{i}" for i in reversed(range(100))]


@pytest.mark.integration
def test_several_processes_write_one_log(tmp_path: Path) -> None:
    """B15, DESIGN section 5: servers that share a data directory share the log; no line is torn or lost."""
    code = (
        "import sys; from pathlib import Path; from po_jupyter.orchestrator.events.audit_log import AuditLog\n"
        "log = AuditLog(Path(sys.argv[1]))\n"
        "for i in range(100): log.append(by=sys.argv[2], action='x', n=i, note='y' * 300)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), who]) for who in "abc"]
    assert [p.wait(60) for p in processes] == [0, 0, 0]
    entries, _ = AuditLog(tmp_path).read(limit=1000)
    assert sorted((e["by"], e["n"]) for e in entries) == [(who, n) for who in "abc" for n in range(100)]


def test_a_disk_that_refuses_does_not_undo_the_change(tmp_path: Path) -> None:
    """B15: the change was made; that it could not be written down is logged, not raised."""
    (tmp_path / "audit").write_text("a file where the directory should be")
    AuditLog(tmp_path / "audit").append(by="me", action="cancel")


def test_no_secret_is_written_down(tmp_path: Path) -> None:
    """P10: fields with the name of a secret are starred."""
    log = AuditLog(tmp_path)
    log.append(by="me", action="keys", api_key="sk-very-secret-1234", note="fine")
    assert "sk-very" not in (tmp_path / "audit.jsonl").read_text()
    assert json.loads((tmp_path / "audit.jsonl").read_text())["note"] == "fine"


@pytest.mark.parametrize("fails", [False, True])
def test_lines_that_come_while_one_is_written_share_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: bool
) -> None:
    """B15: each is on the disk when its `append` returns; a disk that refuses is logged for each."""
    log = AuditLog(tmp_path / "audit")
    log.append(by="me", action="cancel", run="r")  # the file is there
    begun, go_on = Event(), Event()
    written: list[int] = []
    fsync = os.fsync

    def slow(fd: int) -> None:
        begun.set()
        assert go_on.wait(30)
        if fails:
            raise OSError(28, "No space left on device")
        fsync(fd)
        written.append(log._file.read_bytes().count(b"\n"))

    def append(number: int) -> int:
        log.append(by="me", action="cancel", run=f"r{number}")
        return written[-1] if written else 0

    monkeypatch.setattr(os, "fsync", slow)
    with ThreadPoolExecutor(5) as threads:
        first = threads.submit(append, 0)
        assert begun.wait(30)
        others = [threads.submit(append, i) for i in range(1, 5)]
        while len(log._unwritten) < 4:
            assert not any(other.done() for other in others)
        go_on.set()
        results = [future.result(30) for future in (first, *others)]
    if fails:
        entries = capsys.readouterr()
        text = entries.out + entries.err
        assert all(f"r{i}" in text for i in range(5))
    else:
        assert written == [2, 6] and results[1:] == [6] * 4
