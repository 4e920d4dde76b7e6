"""Queries and bodies of routes: what is read of them, and what they refuse with the field's name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from po_jupyter.server.routing import shapes


def refusal(shape: type[BaseModel], **values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        shape.model_validate(values)
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in caught.value.errors())


def test_a_list_with_commas_is_read_as_states() -> None:
    assert shapes.ListRuns.model_validate({"state": "done, failed,"}).state == ("done", "failed")
    assert shapes.ListRuns.model_validate({"state": ""}).state == ()


def test_a_misspelt_state_names_the_one_that_was_meant() -> None:
    assert "did you mean" in refusal(shapes.ListRuns, state="dnoe")
    assert "'running' has not ended; ended are: " in refusal(shapes.ExportQuery, state="done,running")


def test_a_query_may_have_more_and_a_body_may_not() -> None:
    assert shapes.ListRuns.model_validate({"token": "t", "_": "1"}).limit == 50
    assert refusal(shapes.EmptyBody, x=1).startswith("x: ")


def test_of_many_unknown_fields_few_are_told() -> None:
    assert len(refusal(shapes.GateBody, decision="approve", **{f"f{i}": 1 for i in range(5000)})) < 5000


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        (shapes.ListRuns, {"limit": 0}),
        (shapes.ListRuns, {"limit": 201}),
        (shapes.ListRuns, {"cursor": "x" * 201}),
        (shapes.EventsQuery, {"since": -1}),
        (shapes.EventsQuery, {"since": 2**53}),
        (shapes.ItemsQuery, {}),
        (shapes.ItemsQuery, {"task": ""}),
        (shapes.ItemsQuery, {"task": "a", "state": "pending"}),
        (shapes.GateBody, {"decision": "maybe"}),
        (shapes.CleanBody, {"states": ["running"]}),
        (shapes.SubmitBody, {}),
        (shapes.SubmitBody, {"seed": 1, "priority": 101}),
        (shapes.TokenBody, {"scopes": []}),
        (shapes.TokenBody, {"scopes": ["runs:read"], "expires": 59}),
    ],
)
def test_what_is_out_of_bounds_is_refused(shape: type[BaseModel], values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        shape.model_validate(values)


def test_a_scope_that_there_is_not_names_those_that_there_are() -> None:
    message = refusal(shapes.TokenBody, scopes=["run:read"])
    assert "did you mean" in message
    assert "scopes: " in message
    assert shapes.TokenBody.model_validate({"scopes": ["runs:read"]}).expires == 30 * 86_400


def test_a_key_is_not_in_what_is_printed() -> None:
    body = shapes.KeyBody.model_validate({"key": "sk-secret"})
    assert "sk-secret" not in repr(body)
    assert body.key.get_secret_value() == "sk-secret"


def test_a_body_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        shapes.GateBody(decision="approve").note = "x"
