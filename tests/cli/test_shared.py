"""Shared runs beside one's own in a terminal."""

from __future__ import annotations

import pytest

from po_jupyter.cli.shared import place_of, visible_runs
from po_jupyter.model.run.view import RunView

VIEW = RunView(id="a", name="n", pipeline="p", version="1", state="done", created_at="", updated_at="", seed={})


def test_whose_it_is_and_who_did_what_last() -> None:
    acts = ({"act": "started", "by": "alice", "at": "1"}, {"act": "cancelled", "by": "bob", "at": "2"})
    view = VIEW.model_copy(update={"owner": "group:red", "acts": acts})
    assert place_of(view) == "shared · red · cancelled by bob"
    assert place_of(VIEW.model_copy(update={"owner": "alice", "acts": acts[:1]})) == "shared · alice"


def test_without_a_hub_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PO_HUB_URL", "PO_HUB_RUNS_URL"):
        monkeypatch.delenv(name, raising=False)
    assert visible_runs() == []
