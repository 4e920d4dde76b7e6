"""Locks on files between processes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from po_jupyter.platform import file_lock, private_file


def test_a_lock_is_held_by_one_and_given_back_when_its_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = (private_file.open_private(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert file_lock.try_lock(first)
    assert not file_lock.try_lock(second)
    waiting = threading.Thread(target=file_lock.lock, args=(second,))
    waiting.start()
    assert waiting.is_alive()
    os.close(first)
    waiting.join(5)
    assert not waiting.is_alive()
    os.close(second)
    with private_file.locked(path):
        third = private_file.open_private(path, os.O_RDWR)
        assert not file_lock.try_lock(third)
        os.close(third)
