"""Pydantic's errors as violations."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from po_jupyter.errors import Violation
from po_jupyter.model.pipeline.violations import did_you_mean, dotted, violations_of


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int = 0
    api_token: int = 0


class Request(BaseModel):
    scopes: Annotated[tuple[Literal["read"], ...], Field(min_length=1)]


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    parts: list[Inner] = []


def violations(value: object) -> list[Violation]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    return violations_of(caught.value, known=("name", "parts"), what="an outer")


def test_every_violation_is_there_with_its_place() -> None:
    found = violations({"parts": [{"count": "many"}, 3], "nane": 1})
    assert [(v.where, v.message) for v in found] == [
        ("name", "an outer needs `name`"),
        ("parts[0].count", "parts[0].count: needs a whole number (given: 'many')"),
        ("parts[1]", "parts[1]: needs a mapping (`name: value`) (given: 3)"),
        ("nane", "`nane` is not a field of an outer; did you mean `name`?"),
    ]


def test_what_was_typed_in_the_place_of_a_secret_is_not_repeated() -> None:
    """P10."""
    (found,) = violations({"name": "n", "parts": [{"api_token": "sk-secret"}]})
    assert "sk-secret" not in found.message


def test_a_suggestion_is_close_or_none() -> None:
    assert did_you_mean("promt", ["prompt", "name"]) == "; did you mean `prompt`?"
    assert did_you_mean("zzz", ["prompt", "name"]) == ""
    assert dotted(("tasks", 0, "name")) == "tasks[0].name"
    assert dotted(()) == ""


def test_a_list_whose_only_entry_is_refused_is_not_too_short_as_well() -> None:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate({"scopes": ["everything"]})
    assert [v.where for v in violations_of(caught.value, known=["scopes"])] == ["scopes[0]"]
    with pytest.raises(ValidationError) as caught:
        Request.model_validate({"scopes": []})
    assert [v.where for v in violations_of(caught.value, known=["scopes"])] == ["scopes"]
