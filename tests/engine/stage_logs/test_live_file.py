"""The live file: one empty file for many stages, whose name says which one wrote."""

from __future__ import annotations

import os
from pathlib import Path

from po_jupyter.engine.stage_logs.live_file import LiveLogFile, leftover_files, move_to_log, stage_of_live_file


def log_of(run_dir: Path, stage: str) -> Path:
    return run_dir / "logs" / "t" / f"{stage}.log"


def test_an_empty_file_goes_from_stage_to_stage_and_leaves_no_log(tmp_path: Path) -> None:
    live = LiveLogFile(tmp_path)
    first = live.open(log_of(tmp_path, "one"))
    live.move_to(log_of(tmp_path, "one"))
    assert live.open(log_of(tmp_path, "two")) == first
    assert os.listdir(tmp_path) == ["t.two.live"]
    live.close()
    assert os.listdir(tmp_path) == []


def test_what_was_written_becomes_the_log(tmp_path: Path) -> None:
    live = LiveLogFile(tmp_path)
    os.write(live.open(log_of(tmp_path, "one")), b"hello")
    live.move_to(log_of(tmp_path, "one"))
    assert log_of(tmp_path, "one").read_bytes() == b"hello"
    os.write(live.open(log_of(tmp_path, "one")), b" again")
    live.move_to(log_of(tmp_path, "one"))
    assert log_of(tmp_path, "one").read_bytes() == b"hello again"


def test_files_of_a_crashed_worker_are_found_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "t.one.live").write_bytes(b"last words")
    (tmp_path / "worker.log").write_bytes(b"")
    ((live, log),) = leftover_files(tmp_path)
    move_to_log(live, log)
    assert log_of(tmp_path, "one").read_bytes() == b"last words"
    assert leftover_files(tmp_path) == []


def test_only_live_files_name_a_stage() -> None:
    assert stage_of_live_file("deep-dive.inference.live") == ("deep-dive", "inference")
    assert stage_of_live_file("run.db") is None
