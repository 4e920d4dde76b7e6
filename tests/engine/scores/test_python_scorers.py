"""Scorers of packages: found by entry points, and whatever they give or raise is a value or a note."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.engine.scores import python_scorers
from po_jupyter.engine.scores.python_scorers import call_scorer, load_scorer, scorer_problem
from po_jupyter.errors import InvalidInput


class Entry:
    name = "mine"

    def __init__(self, found: Any) -> None:
        self._found = found

    def load(self) -> Any:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def installed(monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
    def entry_points(group: str, name: str | None = None) -> list[Entry]:
        return [Entry(found)] if name in (None, "mine") else []

    monkeypatch.setattr(python_scorers, "entry_points", entry_points)


@pytest.mark.parametrize(
    ("given", "value"),
    [(0.5, 0.5), (True, 1.0), (3, 3.0), (None, None), ("x", None), (float("nan"), None), ([], None)],
)
def test_what_a_scorer_gives(given: Any, value: float | None) -> None:
    measured = call_scorer(lambda answer, expected, item: given, "a", "b", {})
    assert measured.value == value and bool(measured.note) == (value is None)


def test_a_scorer_is_looked_up_before_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, len)
    assert scorer_problem("mine") is None
    assert "did you mean 'mine'" in (scorer_problem("mime") or "").replace("`", "'")
    assert load_scorer("mine") is len


@pytest.mark.parametrize(
    ("found", "message"), [(ImportError("no"), "cannot be loaded"), ("text", "no function")]
)
def test_one_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, found: Any, message: str) -> None:
    installed(monkeypatch, found)
    with pytest.raises(InvalidInput, match=message):
        load_scorer("mine")
