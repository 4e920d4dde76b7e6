"""The turn file as who writes it and who reads it from outside see it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from po_jupyter.ipc import turn_file
from po_jupyter.ipc.turn_file import SLOTS, TurnFile, read_turns, turn_file_of


def test_it_names_the_run_whose_step_runs_else_those_in_threads(tmp_path: Path) -> None:
    path = turn_file_of(tmp_path / "runtime", 7)
    file = TurnFile(path)
    one, two = file.take("one"), file.take("two")
    assert read_turns(path).suspects == frozenset()
    file.numbers[file.jobs_index(two)] = 3
    assert read_turns(path).suspects == {"two"}
    file.numbers[0] = one
    file.numbers[1] = 5
    turns = read_turns(path)
    assert (turns.run, turns.step, turns.in_threads, turns.suspects) == ("one", 5, {"two"}, {"one"})
    file.close()
    assert read_turns(path).suspects == {"one"}, "also when its writer is gone"


def test_a_slot_is_used_again_and_names_nobody_in_between(tmp_path: Path) -> None:
    file = TurnFile(tmp_path / "turns-1")
    slot = file.take("gone")
    file.numbers[0] = slot
    file.release(slot)
    assert read_turns(tmp_path / "turns-1").suspects == frozenset()
    assert file.take("next") == slot
    assert read_turns(tmp_path / "turns-1").suspects == {"next"}
    for i in range(SLOTS - 1):
        file.take(f"r{i}")
    with pytest.raises(IndexError):
        file.take("one too many")
    file.close()


@pytest.mark.parametrize("content", [None, b"", b"short"])
def test_a_file_that_is_not_there_or_not_whole_names_nobody(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "turns-1"
    if content is not None:
        path.write_bytes(content)
    assert read_turns(path).suspects == frozenset()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="platform: no /dev/full")
def test_a_full_disk_is_an_error_of_the_file_and_no_end_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with holes is made on a full disk too; the first number in it would then be a SIGBUS."""
    monkeypatch.setattr(turn_file, "open_private", lambda path, flags: os.open("/dev/full", os.O_RDWR))
    with pytest.raises(OSError) as caught:
        TurnFile(tmp_path / "turns-1")
    assert caught.value.errno == errno.ENOSPC
