"""`po artifacts`: files that runs wrote, listed, printed, and written down."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.client.reports import Report
from po_jupyter.errors import NotFound
from tests.support.cli import FakeClient, FakeRun, fake_run, make_view
from tests.support.report_content import content

BYTES = b"\x00\xff\x1b[2Jtext"


class RunWithFiles(FakeRun):
    """A run with these artifacts."""

    files: dict[str, bytes]

    def artifacts(self) -> list[dict[str, Any]]:
        tasks = {"report.md": "write", "photo.png": None}
        return [
            {
                "name": name,
                "task": tasks[name],
                "bytes": len(data) * 1000,
                "sha256": None,
                "path": f"/data/{name}",
            }
            for name, data in self.files.items()
        ]

    def artifact(self, name: str) -> bytes:
        if name not in self.files:
            raise NotFound(f"no artifact {name}")
        return self.files[name]


@pytest.fixture
def run(client: FakeClient) -> RunWithFiles:
    made = fake_run(make_view())
    run = RunWithFiles(made.updates)
    run.files = {"report.md": BYTES, "photo.png": b"x"}
    client.runs_there = [run]
    return run


def test_files_are_listed_with_their_task_size_and_place(po: Any, run: RunWithFiles) -> None:
    code, out, _ = po("artifacts", run.short)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["report.md", "write", f"{len(BYTES) * 1000:,}", "/data/report.md"] in lines
    assert ["photo.png", "seed", "1,000", "/data/photo.png"] in lines
    assert json.loads(po("artifacts", run.short, "--json")[1])[1]["task"] is None
    run.files = {}
    assert po("artifacts", run.short)[1] == f"run {run.short} has no artifacts\n"


def test_a_file_goes_to_a_pipe_byte_by_byte(
    run: RunWithFiles, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    from po_jupyter.cli import main

    assert main.run(["artifacts", run.short, "report.md"]) == 0
    assert capfdbinary.readouterr().out == BYTES


def test_a_terminal_gets_text_that_commands_nothing(
    po: Any, run: RunWithFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: what a model wrote into a file moves no cursor."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    _, out, _ = po("artifacts", run.short, "report.md")
    assert "text" in out
    assert "\x1b" not in out


def test_a_file_is_written_where_it_is_wanted(po: Any, run: RunWithFiles, tmp_path: Path) -> None:
    target = tmp_path / "mine.md"
    code, out, _ = po("artifacts", run.short, "report.md", "--out", str(target))
    assert (code, target.read_bytes()) == (0, BYTES)
    assert f"{len(BYTES):,} bytes written to" in out


def test_what_cannot_be_done_is_told(po: Any, run: RunWithFiles, tmp_path: Path) -> None:
    """P11."""
    code, _, err = po("artifacts", run.short, "--out", str(tmp_path / "x"))
    assert code == 2
    assert "--out needs the NAME" in err
    code, _, err = po("artifacts", run.short, "report.md", "--out", str(tmp_path / "no" / "x"))
    assert code == 2
    assert "cannot be written: No such file" in err
    code, _, err = po("artifacts", run.short, "nope")
    assert code != 0
    assert "no artifact nope" in err


@pytest.fixture
def asked(client: Any) -> list[Any]:
    run, asked = fake_run(make_view("done")), []

    def report(path: str | None = None, *, rows: int) -> Report:
        asked.append((path, rows))
        made = Report(content())
        if path is not None:
            made.save(path)
        return made

    run.report = report
    client.runs_there = [run]
    return asked


def test_a_file_is_written_by_its_name(po: Any, asked: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "x.html"
    code, out, _ = po("report", "7f3a", "-o", str(file), "--rows", "5")
    assert (code, out) == (0, f"{file} written\n")
    assert file.read_text().startswith("<!doctype html>")
    assert asked == [(str(file), 5)]
    assert json.loads(po("report", "7f3a", "-o", str(file), "--json")[1])["file"] == str(file)
    code, _, err = po("report", "7f3a", "-o", str(tmp_path / "x.pdf"))
    assert code == 2
    assert ".ipynb" in err


def test_without_a_file_it_is_markdown(po: Any, asked: list[Any]) -> None:
    code, out, _ = po("report", "7f3a")
    assert code == 0
    assert out.startswith("# tickets 1.0.0")
    assert "\x1b" not in out
    assert asked == [(None, 200)]
    assert json.loads(po("report", "7f3a", "--json")[1])["markdown"].startswith("# tickets")
