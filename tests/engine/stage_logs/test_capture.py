"""Capture: each stage's prints go to its own log, whole lines for rows, without keys."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from po_jupyter.engine.stage_logs import capture
from po_jupyter.engine.stage_logs.capture import StageLog, recover_live_files
from po_jupyter.telemetry.redaction import redactor


@pytest.fixture(autouse=True)
def _streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)


def test_prints_of_a_stage_are_in_its_log_and_only_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = StageLog(tmp_path / "logs/t/one.log")
    with log:
        print("inside")
        print("problem", file=sys.stderr)
    print("outside")
    assert log.used
    assert log.path.read_text() == "inside\nproblem\n"
    assert capsys.readouterr() == ("outside\n", "")


def test_a_stage_that_prints_nothing_has_no_log(tmp_path: Path) -> None:
    with StageLog(tmp_path / "one.log") as log:
        pass
    assert not log.used
    assert not log.path.exists()


def test_a_row_writes_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "one.0.log"
    with StageLog(path, alone=False) as log:
        log.write("half ")
        assert not path.exists()
        log.write("a line\n")
        assert path.read_text() == "half a line\n"
        log.write("the end")
    assert path.read_text() == "half a line\nthe end"


def test_past_its_limit_the_rest_is_dropped_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "_MAX_BYTES", 10)
    with StageLog(tmp_path / "one.log") as log:
        for _ in range(3):
            log.write("12345678\n")
    text = log.path.read_text()
    assert text.startswith("12345678\n")
    assert text.count("dropped") == 1


def test_keys_are_in_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P10."""
    monkeypatch.setattr(type(redactor), "text", lambda self, text: text.replace("sk-secret", "***"))
    (tmp_path / "t.one.live").write_text("from C: sk-secret")
    with StageLog(tmp_path / "two.log"):
        print("sk-secret")
    recover_live_files(tmp_path)
    assert (tmp_path / "two.log").read_text() == "***\n"
    assert (tmp_path / "logs/t/one.log").read_text() == "from C: ***"
