"""Snapshots of failed attempts: found from the error, bounded, and never a failure of their own."""

from __future__ import annotations

import json
from pathlib import Path

from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.snapshots import Snapshots
from po_jupyter.errors import StageFailed
from po_jupyter.model.pipeline.pipeline import Task

TASK = Task(name="t", prompt="x")


def test_the_frame_is_beside_the_logs_and_the_error_says_where(tmp_path: Path) -> None:
    error = StageFailed("x")
    Snapshots("r", tmp_path).write(Frame(TASK, stage="inference", data={"a": 1}, output=object()), error)
    path = tmp_path / "logs/t/inference.context.json"
    assert error.details["context"] == str(path)
    content = json.loads(path.read_text())
    assert (content["run"], content["data"]) == ("r", {"a": 1})
    assert content["output"].startswith("<object")


def test_a_large_value_is_cut(tmp_path: Path) -> None:
    Snapshots("r", tmp_path).write(Frame(TASK, stage="s", output="x" * 10**6), StageFailed("x"))
    assert (tmp_path / "logs/t/s.context.json").stat().st_size < 300_000


def test_twenty_rows_of_a_map_have_one(tmp_path: Path) -> None:
    snapshots = Snapshots("r", tmp_path)
    for index in range(25):
        snapshots.write(Frame(TASK, stage="s", index=index), StageFailed("x"))
    assert len(list((tmp_path / "logs/t").iterdir())) == 20


def test_a_directory_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    error = StageFailed("x")
    Snapshots("r", tmp_path).write(Frame(TASK, stage="s"), error)
    assert "context" not in error.details
