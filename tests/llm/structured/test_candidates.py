"""Of the values that an answer could mean, the one that fits is taken (A2)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, TypeAdapter

from po_jupyter.errors import AnswerUnreadable
from po_jupyter.llm.structured.parsing import AnswerValidator, readable_text


class Label(BaseModel):
    label: Literal["bug", "praise"]


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


class Word(StrEnum):
    BUG = "bug"
    PRAISE = "praise"


class Note(BaseModel):
    label: str
    code: str


TAKEN: dict[str, tuple[Any, str, Any]] = {
    "a fence in a string": (
        Note,
        'So: {"label": "x", "code": "```json\\n{\\"a\\": 1}\\n```"}',
        {"label": "x", "code": '```json\n{"a": 1}\n```'},
    ),
    "a fence in a string, with line breaks": (
        Note,
        'So: {"label": "x", "code": "```json\n{}\n```"}',
        {"label": "x", "code": "```json\n{}\n```"},
    ),
    "a fence in a string of a fenced block": (
        Note,
        '```json\n{"label": "x", "code": "```\\n[1]\\n```"}\n```',
        {"label": "x", "code": "```\n[1]\n```"},
    ),
    "a note before a recursive model": (
        Tree,
        'As [1] says: {"name": "a", "children": [{"name": "b"}]}',
        {"name": "a", "children": [{"name": "b"}]},
    ),
    "a bare word": (Word, "bug", "bug"),
    "a bare word with a line break": (Word, "bug\n", "bug"),
    "a bare word in bold": (Word, "**bug**", "bug"),
    "a bare word as code": (Word, "`bug`.", "bug"),
    "a bare word in single quotes": (Word, "'bug'", "bug"),
    "a bare word fenced": (Word, "```\nbug\n```", "bug"),
    "a word in JSON": (Word, '"bug"', "bug"),
    "a word of a Literal": (Literal["bug", "praise"], "praise", "praise"),
    "a word that may be null": (Word | None, "bug", "bug"),
    "null": (Word | None, "null", None),
    "an object that may be null": (Label | None, "null", None),
    "an object that may be null, fenced": (Label | None, "```json\nnull\n```", None),
    "an object that may be null and is not": (Label | None, 'It is {"label": "bug"}', {"label": "bug"}),
    "an example of the format first": (Label, 'As {"label": "..."}: {"label": "bug"}', {"label": "bug"}),
    "another object first": (Label, '{"note": 1}\n{"label": "bug"}', {"label": "bug"}),
    "a fenced example first": (
        Label,
        '```json\n{"label": "<label>"}\n```\nis the format.\n{"label": "bug"}',
        {"label": "bug"},
    ),
    "the same twice": (Label, '{"label": "bug"}\n```json\n{"label":"bug"}\n```', {"label": "bug"}),
    "a list after a list of another kind": (list[Label], 'See [1, 2]: [{"label": "bug"}]', [{"label": "bug"}]),
    "a text that looks like a number": (str, "42", "42"),
    "a text that holds an object": (str, 'Write {"a": 1} there.', 'Write {"a": 1} there.'),
    "a text in JSON": (str, '"a\\nb"', "a\nb"),
    "a text with a text in a fence": (str, 'Run:\n```\n"x"\n```\nand stop.', 'Run:\n```\n"x"\n```\nand stop.'),
    "a note behind it": (Label, '{"label": "bug"} (see {the note}, [1, p. 3] and {a, b})', {"label": "bug"}),
    "a broken one before it": (Label, '{"label": "praise",} is no JSON: {"label": "bug"}', {"label": "bug"}),
    "the same name twice, the same value": (Label, '{"label": "bug", "label": "bug"}', {"label": "bug"}),
    "a number": (int, "42", 42),
    "a bool": (bool, "true", True),
}
ASKED_AGAIN: dict[str, tuple[Any, str]] = {
    "two that fit": (Label, 'First {"label": "praise"}, then {"label": "bug"}'),
    "two that fit, one fenced": (Label, '```json\n{"label": "praise"}\n```\nNo: {"label": "bug"}'),
    "one that fits, and a correction that is cut off": (
        Label,
        'Draft: {"label": "bug"} Final: {"label": "praise"',
    ),
    "one that fits, and a correction with a comma": (Label, 'Not {"label": "bug"} but {"label": "praise",}'),
    "one that fits, and a correction as Python": (Label, "Not {\"label\": \"bug\"} but {'label': 'praise'}"),
    "a list that fits, and one that is cut off": (list[int], "As in [1]: [1, 2, 3"),
    "half of an object in two pairs of braces": (Label, '{{"label": "bug"}, "sure": false}'),
    "two pairs of braces that do not end": (Label, '{{"label": "bug"}'),
    "a name twice, with two values": (Label, '{"label": "bug", "label": "praise"}'),
    "a name twice in a list": (list[Label], '[{"label": "bug", "label": "praise"}]'),
    "a text with a list in it, where both would do": (list[int] | str, "As shown in [1], water boils."),
    "a word in prose": (Word, "The label is bug."),
    "the wrong case": (Word, "BUG"),
    "an empty answer": (Label, ""),
    "an empty word": (Word, ""),
    "half an object where a text would do": (Label | str, '{"label": "bu'),
    "null where it is not allowed": (Label, "null"),
}


def validator(source: Any) -> AnswerValidator:
    return AnswerValidator(TypeAdapter(source).json_schema())


@pytest.mark.parametrize("name", TAKEN)
def test_the_one_that_fits_is_taken(name: str) -> None:
    source, text, value = TAKEN[name]
    assert validator(source).read(text) == (value, [])


@pytest.mark.parametrize("name", ASKED_AGAIN)
def test_where_none_or_several_fit_the_answer_is_asked_again(name: str) -> None:
    source, text = ASKED_AGAIN[name]
    try:
        _, violations = validator(source).read(text)
    except AnswerUnreadable as error:
        violations = [error.message]
    assert violations


def test_the_classs_own_check_decides_which_one_fits() -> None:
    answer = validator(Label).with_check(lambda value: [] if value["label"] == "bug" else ["no praise"])
    assert answer.parse('{"label": "praise"} or {"label": "bug"}') == {"label": "bug"}
    assert answer.read('{"label": "praise"}') == ({"label": "praise"}, ["no praise"])
    assert validator(Label).violations({"label": "praise"}) == []  # that one is another's


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1e400}', "answer.a is a number that is too large"),
        ('{"a": [-1e999]}', "answer.a[0] is a number that is too large"),
        ('{"a": "\\ud83d"}', "answer.a is half a surrogate pair"),
        ('{"\\ud83d": 1}', "half a surrogate pair"),
        ('{"a": ' + "[" * 150 + "]" * 150 + "}", "nested deeper than 100 levels"),
        ('{"a": ' + "9" * 5000 + "}", "no complete JSON"),
        ('"\ud83d"', "half a surrogate pair"),
    ],
)
def test_json_that_could_never_be_read_back_is_asked_again(text: str, said: str) -> None:
    """A8."""
    for schema in ({"type": "object"}, {}, {"type": ["object", "string"]}):
        with pytest.raises(AnswerUnreadable) as caught:
            AnswerValidator(schema).parse(text)
        assert said in caught.value.message or schema == {"type": "object"}
        str(caught.value).encode()


def test_halves_that_came_in_two_pieces_are_one_character() -> None:
    assert readable_text("a\ud83d\ude00") == "a😀"
    assert AnswerValidator({"type": "object"}).parse('{"a": "\ud83d\ude00"}') == {"a": "😀"}
    with pytest.raises(AnswerUnreadable, match="half a surrogate pair"):
        readable_text("a\ud83d")


def test_an_answer_that_names_something_twice_says_so() -> None:
    with pytest.raises(AnswerUnreadable, match="names 'label' twice in one object"):
        validator(Label).read('So: {"label": "bug", "label": "praise"}')
