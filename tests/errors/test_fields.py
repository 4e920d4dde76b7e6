"""Fields of errors: typed entries of their details that cross a process boundary, and violations."""

from __future__ import annotations

import json

from po_jupyter.errors import ModelError, ModelUnavailable, StageFailed, Violation, from_json


def test_what_decides_is_a_field_that_crosses_with_the_details() -> None:
    lost = ModelUnavailable("x", outcome="unknown", at_once=True)
    again = from_json(json.loads(json.dumps(lost.to_json())))
    assert isinstance(again, ModelError)
    assert (again.outcome, again.at_once, again.may_be_billed) == ("unknown", True, True)
    assert lost.details == {"outcome": "unknown", "at_once": True}
    assert ModelUnavailable("x", details={"outcome": "unknown"}).may_be_billed
    assert StageFailed("x", details={"permanent": True}).permanent
    again.usage = {"calls": 1}
    assert not again.may_be_billed
    assert again.to_json()["details"]["usage"] == {"calls": 1}
    again.usage = None
    assert "usage" not in again.details


def test_a_field_of_another_type_is_as_if_it_were_missing() -> None:
    """A newer or broken peer: nobody decides by what cannot be understood."""
    odd = from_json(
        {"code": "model_refused", "message": "", "details": {"status": "404", "usage": 3, "model": None}}
    )
    assert isinstance(odd, ModelError)
    assert (odd.http_status, odd.usage, odd.model) == (None, None, "")
    assert StageFailed("x", permanent=True).permanent
    assert not StageFailed("x", details={"permanent": "no"}).permanent


def test_a_field_that_was_never_set_reads_as_its_default_and_leaves_no_trace() -> None:
    error = ModelUnavailable("x")
    assert (error.usage, error.outcome, error.details) == (None, ModelUnavailable("y").outcome, {})
    error.usage = None
    assert error.details == {}


def test_a_violation_says_its_place_once() -> None:
    assert str(Violation("a.b", "a.b: too long")) == "a.b: too long"
    assert str(Violation("PO_X", "too long")) == "PO_X: too long"
    assert str(Violation("a", "too long", 7, 1)) == "line 7: too long"
    assert str(Violation("", "too long")) == "too long"


def test_violations_of_a_newer_or_broken_peer_are_passed_over() -> None:
    good = {"where": "a", "message": "too long", "line": 3}
    entries = [good, {"where": "a"}, {**good, "severity": "high"}, "text", None]
    assert Violation.list_from_json(entries) == [Violation("a", "too long", 3)]
    for none in (None, {}, "text", 3):
        assert Violation.list_from_json(none) == []
