"""`po report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.client.reports import Report
from tests.support.cli import fake_run, make_view
from tests.support.report_content import content


@pytest.fixture
def asked(client: Any) -> list[Any]:
    run, asked = fake_run(make_view("done")), []

    def report(path: str | None = None, *, rows: int) -> Report:
        asked.append((path, rows))
        made = Report(content())
        if path is not None:
            made.save(path)
        return made

    run.report = report  # type: ignore[attr-defined]
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
