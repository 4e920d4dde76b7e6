"""Choices of a schema, and answers as people write them."""

from typing import Any

import pytest

from po_jupyter.client.reviews.choices import Choices, choices_of, read_answer, shown, written_answer

LABEL = {"type": "object", "properties": {"why": {"type": "string"}, "label": {"enum": ["bug", "question"]}}}


@pytest.mark.parametrize(
    ("schema", "choices"),
    [
        (LABEL, Choices("label", ("bug", "question"))),
        ({"enum": ["a", "b"]}, Choices(None, ("a", "b"))),
        ({"type": "boolean"}, Choices(None, (True, False))),
        ({"properties": {"ok": {"type": "boolean"}}}, Choices("ok", (True, False))),
        ({"enum": list(range(9))}, Choices(None, tuple(range(9)))),
        ({"enum": list(range(10))}, None),
        ({"enum": ["one"]}, None),
        (
            {"$defs": {"L": {"enum": ["a", "b"]}}, "properties": {"l": {"$ref": "#/$defs/L"}}},
            Choices("l", ("a", "b")),
        ),
        (
            {"properties": {"l": {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}}},
            Choices("l", ("a", "b", None)),
        ),
        ({"properties": {"l": {"anyOf": [{"const": "a"}, {"const": "b"}]}}}, Choices("l", ("a", "b"))),
        ({"properties": {"l": {"anyOf": [{"enum": ["a", "b"]}, {"type": "string"}]}}}, None),
        ({"$defs": {"L": {"anyOf": [{"$ref": "#/$defs/L"}]}}, "$ref": "#/$defs/L"}, None),
        ({"type": "string"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_schema_has_choices(schema: Any, choices: Choices | None) -> None:
    assert choices_of(schema) == choices


def test_for_agreement_a_field_may_have_any_number_of_values() -> None:
    """Beyond nine whole answers were compared, so that kappa was that of their confidence too."""
    schema = {"properties": {"why": {"type": "string"}, "label": {"enum": list("abcdefghijkl")}}}
    assert choices_of(schema) is None
    assert choices_of(schema, most=None) == Choices("label", tuple("abcdefghijkl"))


def test_a_choice_keeps_the_rest_of_the_answer() -> None:
    choices = choices_of(LABEL)
    assert choices is not None
    assert choices.answer({"why": "x", "label": "bug"}, "question") == {"why": "x", "label": "question"}
    assert choices.answer(None, "bug") == {"label": "bug"}
    assert choices.value_in({"label": "bug"}) == "bug"
    assert choices.value_in("bug") is None
    assert Choices(None, (1, 2)).answer(1, 2) == 2


@pytest.mark.parametrize("output", [{"a": [1, None]}, [1], 1.5, True, "text"])
def test_an_answer_is_edited_as_it_is_read(output: Any) -> None:
    assert read_answer(written_answer(output, {"type": "object"}), {"type": "object"}) == output


def test_a_text_is_edited_without_quotes() -> None:
    assert written_answer("a\nb", None) == "a\nb"
    assert read_answer("{not json", None) == "{not json"
    assert read_answer("plain", {"type": "string"}) == "plain"
    assert (shown("bug"), shown(True), written_answer(None, LABEL)) == ("bug", "true", "")


@pytest.mark.parametrize("text", ["{", "bug", "NaN", ""])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        read_answer(text, LABEL)
