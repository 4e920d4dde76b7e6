"""What is taken from an error and what stays; how a cell draws it is in `tests/kernel/test_errors.py`."""

from __future__ import annotations

import pytest

from po_jupyter.errors.tracebacks import VARIABLE, is_full, shorten


def test_frames_below_go_unless_all_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        raise TimeoutError("late")
    except TimeoutError as caught:
        error = caught
    monkeypatch.setenv(VARIABLE, "1")
    shorten(error)
    assert is_full() and error.__traceback__ is not None
    monkeypatch.setenv(VARIABLE, "0")
    shorten(error)
    assert not is_full() and error.__traceback__ is None
    assert hasattr(error, "_render_traceback_")
