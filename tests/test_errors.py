"""The tree of errors: codes are stable and every error survives the wire."""

import json

import pytest

from po_jupyter import errors
from po_jupyter.errors import (
    InvalidInput,
    InvalidSeed,
    ModelError,
    ModelUnavailable,
    PoError,
    StageFailed,
    Violation,
    from_json,
)


def tree(cls: type[PoError]) -> list[type[PoError]]:
    return [cls, *(found for sub in cls.__subclasses__() for found in tree(sub))]


ALL = [c for c in tree(PoError) if c.__module__ == errors.__name__]


def test_codes_are_unique_and_statuses_are_http() -> None:
    assert len({c.code for c in ALL if c is not ModelError}) == len([c for c in ALL if c is not ModelError])
    assert all(400 <= c.status < 600 for c in ALL)


def test_the_drawing_shows_every_class() -> None:
    drawn = errors.__doc__ or ""
    assert [c.__name__ for c in ALL if c.__name__ not in drawn] == []


@pytest.mark.parametrize("cls", ALL)
def test_each_error_comes_back_from_json_as_it_was(cls: type[PoError]) -> None:
    """P11: what, where and what to do cross a process boundary."""
    error = cls("it broke", hint="do this", details={"at": 3})
    again = from_json(json.loads(json.dumps(error.to_json())))
    assert type(again) is cls
    assert str(again) == "it broke\ndo this"
    assert again.details == {"at": 3}
    assert again.to_json() == error.to_json()


def test_violations_cross_too() -> None:
    error = InvalidSeed(
        "no", violations=[Violation("data", "data: needs a mapping"), Violation("x", "bad", 3, 4)]
    )
    again = from_json(json.loads(json.dumps(error.to_json())))
    assert isinstance(again, InvalidInput)
    assert again.violations == error.violations
    assert str(again) == "no\ndata: needs a mapping\nline 3: bad"


def test_what_nobody_knows_is_still_an_error() -> None:
    """A newer server may know more codes."""
    assert type(from_json({"code": "later", "message": "x", "hint": None, "details": None})) is PoError
    assert str(from_json({})) == ""
    broken = from_json({"code": "invalid_seed", "message": "x", "details": {"violations": [{"no": 1}, 3]}})
    assert isinstance(broken, InvalidSeed)
    assert broken.violations == []


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


def test_an_invalid_input_always_says_something() -> None:
    assert str(InvalidInput()) == "invalid input"


def test_a_violation_says_its_place_once() -> None:
    assert str(Violation("a.b", "a.b: too long")) == "a.b: too long"
    assert str(Violation("PO_X", "too long")) == "PO_X: too long"
    assert str(Violation("a", "too long", 7, 1)) == "line 7: too long"
    assert str(Violation("", "too long")) == "too long"
