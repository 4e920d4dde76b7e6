"""Several files and a commit change together or not at all (R2.3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Conflict, InvalidInput, NotFound, StoreUnusable
from po_jupyter.store.files.intent_log import LOG, IntentLog, Move, Remove, Write


@pytest.fixture
def made() -> set[str]:
    """Decisions that "the store" made."""
    return set()


@pytest.fixture
def intents(tmp_path: Path, made: set[str]) -> IntentLog:
    (tmp_path / "pending").mkdir()
    (tmp_path / "pending" / "a").write_bytes(b"seed")
    (tmp_path / "old").write_bytes(b"old")
    return IntentLog(tmp_path, decided=lambda name, decision: decision in made)


OPS = [Write("current/d", b"definition"), Move("pending/a", "current/a"), Remove("old")]


def content(root: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return {name: data for name, data in found.items() if not name.startswith(LOG)}


BEFORE = {"pending/a": b"seed", "old": b"old"}
AFTER = {"current/a": b"seed", "current/d": b"definition"}


def log_of(root: Path) -> list[str]:
    return [p.name for p in (root / LOG).glob("*")]


def test_everything_happens_with_the_end_of_the_body(intents: IntentLog) -> None:
    with intents.transaction("t", OPS):
        assert content(intents.root) == BEFORE
    assert content(intents.root) == AFTER
    assert log_of(intents.root) == []


@pytest.mark.parametrize("decision", [None, "d"])
def test_a_body_that_raises_changes_nothing(intents: IntentLog, decision: Any) -> None:
    with pytest.raises(KeyError), intents.transaction("t", OPS, decision=decision):
        raise KeyError
    assert content(intents.root) == BEFORE
    assert log_of(intents.root) == []


def test_a_body_that_raises_after_its_commit_is_completed(intents: IntentLog, made: set[str]) -> None:
    """The store is the truth (P1), not the exception."""
    with pytest.raises(KeyError), intents.transaction("t", OPS, decision="d"):
        made.add("d")
        raise KeyError
    assert content(intents.root) == AFTER


def test_a_store_that_cannot_be_asked_leaves_it_to_the_next_start(intents: IntentLog, made: set[str]) -> None:
    def unreachable(name: str, decision: Any) -> bool:
        raise StoreUnusable("down")

    intents._decided = unreachable
    with pytest.raises(KeyError), intents.transaction("t", OPS, decision="d"):
        raise KeyError
    assert [o.result for o in intents.recover()] == ["stuck"]
    assert content(intents.root) == BEFORE
    made.add("d")
    again = IntentLog(intents.root, decided=lambda name, decision: decision in made)
    assert [(o.name, o.decision, o.result) for o in again.recover()] == [("t", "d", "completed")]
    assert content(intents.root) == AFTER


@pytest.mark.parametrize(
    ("ops", "error"),
    [
        ([Move("pending/b", "current/b")], NotFound),
        ([Move("pending/a", "old")], Conflict),
        ([Write("ok", b""), Move("pending/a", "../a")], InvalidInput),
        ([Write("../ok", b"")], InvalidInput),
        ([Remove("/old")], InvalidInput),
    ],
)
def test_an_intent_that_cannot_be_is_refused_and_leaves_nothing(
    intents: IntentLog, ops: list[Any], error: type[Exception]
) -> None:
    """P11."""
    with pytest.raises(error), intents.transaction("t", ops):
        raise AssertionError("the body does not run")
    assert content(intents.root) == BEFORE
    assert log_of(intents.root) == []
    assert intents.recover() == []


def test_a_live_intent_is_not_recovered_under_its_owner(intents: IntentLog) -> None:
    with intents.transaction("t", OPS):
        assert intents.recover() == []
        assert content(intents.root) == BEFORE
    assert content(intents.root) == AFTER


def test_a_new_file_under_the_old_name_is_not_taken_for_the_moved_one(intents: IntentLog) -> None:
    """R2.3: a crash after the rename, then somebody drops another seed of that name: it stays where it is."""
    intent = intents.begin("t", OPS)
    id_ = intent.id
    intent.apply()
    (intents.root / "pending" / "a").write_bytes(b"another")
    ops = [
        {"op": "write", "path": "current/d", "staged": f"{id_}.0"},
        {"op": "move", "source": "pending/a", "target": "current/a",
         "identity": intents.tree.identity("current/a")},
    ]  # fmt: skip
    said = {"version": 1, "name": "t", "decision": None, "ops": ops}
    intents.tree.write(f"{LOG}/{id_}.go", json.dumps(said).encode())
    assert [o.result for o in intents.recover()] == ["completed"]
    assert content(intents.root) == AFTER | {"pending/a": b"another"}


def test_a_name_that_was_taken_meanwhile_is_said_and_nothing_is_lost(intents: IntentLog) -> None:
    move = [Move("pending/a", "b")]
    with pytest.raises(Conflict, match="is there already"), intents.transaction("t", move):
        (intents.root / "b").write_bytes(b"theirs")
    assert content(intents.root) == BEFORE | {"b": b"theirs"}
    outcome = intents.recover()[0]
    assert (outcome.result, "is there already" in outcome.reason) == ("stuck", True)
    (intents.root / "b").unlink()
    assert [o.result for o in intents.recover()] == ["completed"]
    assert content(intents.root) == {"b": b"seed", "old": b"old"}


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"version": 2}', b"\xff", b'{"version": 1, "name": ""}'])
def test_an_intent_that_is_none_is_said_and_left_alone(intents: IntentLog, text: bytes) -> None:
    """P4, P11: what somebody put into the log is data too."""
    intents.tree.write(f"{LOG}/00.json", text)
    outcome = intents.recover()[0]
    assert outcome.result == "stuck"
    assert outcome.reason
    assert content(intents.root) == BEFORE
    assert log_of(intents.root) == ["00.json"]


def test_ops_of_the_log_cannot_lead_out_either(intents: IntentLog, tmp_path: Path) -> None:
    """P6."""
    ops = [{"op": "remove", "path": "../victim", "identity": [1, 2]}]
    said = {"version": 1, "name": "x", "decision": None, "ops": ops}
    intents.tree.write(f"{LOG}/00.go", json.dumps(said).encode())
    assert intents.recover()[0].result == "stuck"


def test_contents_without_an_intent_are_swept(intents: IntentLog) -> None:
    intents.tree.write(f"{LOG}/0a.0", b"x")
    assert intents.recover() == []
    assert log_of(intents.root) == []
