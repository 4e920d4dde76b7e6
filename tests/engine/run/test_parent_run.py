from __future__ import annotations

import pytest

from po_jupyter.engine.replay.history import History
from po_jupyter.engine.run.parent_run import definition_of, recall
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import NotFound
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import NewRun


def test_a_child_run_has_the_seed_of_its_parent_and_none_without_it() -> None:
    """One that is created too late, when its parent was deleted, does nothing."""
    store = MemoryStore()
    seed = {"name": "s", "data": {"rows": [1, 2]}}
    part = {"pipeline": {}, "seed": {"name": "s", "data": {}}, "parent": {"run": "0a"}}
    store.create_run(NewRun("0b", "me", "p", "1.0.0", "n", 0, part, [], parent="0a"))
    with pytest.raises(NotFound):
        definition_of(store, "0b")
    store.create_run(NewRun("0a", "me", "p", "1.0.0", "n", 0, {"pipeline": {}, "seed": seed}, []))
    assert definition_of(store, "0b")["seed"] == seed
    assert definition_of(store, "0a")["seed"] == seed


def test_it_goes_on_where_the_rows_of_the_parent_were() -> None:
    history = History(RunState("0b"))
    history.table("m").set(3, True)
    response = {"key": "m/2/101/x", "kind": "response", "ok": True, "answer": [1, 0], "response": {}}
    recall(history, {
        "run": "0a", "task": "m", "shard": 1, "rows": "2-4", "attempt": 2, "number": 2,
        "redone": {"3": 104, "4": 103}, "calls": [["m/2/101/x", response, True], ["m/3/101/x", response, False]],
    })  # fmt: skip
    assert history.asked["m"] == {2, 3, 4}
    assert history.journal_attempt("m", 1) == 2
    assert history.redone["m"] == {4: 103}, "a row that has its outcome is over"
    call = history.call("m/2/101/x")
    assert call is not None
    assert (call.answer, call.counted, call.reported) == ([1, 0], True, 1)
    assert history.call("m/3/101/x") is None
