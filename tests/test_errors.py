"""The tree of errors: codes are stable and every error survives the wire."""

import json

import pytest

from po_jupyter import errors
from po_jupyter.errors import (
    InvalidInput,
    InvalidSeed,
    ModelError,
    PoError,
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


def test_an_invalid_input_always_says_something() -> None:
    assert str(InvalidInput()) == "invalid input"
