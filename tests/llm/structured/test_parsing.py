"""JSON answers: found, or a clear error; never a silent string (B8)."""

import json

import pytest

from po_jupyter.errors import AnswerUnreadable, InvalidInput
from po_jupyter.llm.structured.parsing import AnswerValidator, answer_validator, parse_json, reask

A = {"a": 1}
FOUND = [
    ('{"a": 1}', A),
    ('  \n{"a": 1}\n ', A),
    ('\ufeff{"a": 1}', A),
    ("[1, 2]", [1, 2]),
    ("{}", {}),
    ("[]", []),
    ('```json\n{"a": 1}\n```', A),
    ('```JSON\r\n{"a": 1}\r\n```', A),
    ('```\n{"a": 1}\n```', A),
    ('Sure!\n```json\n{"a": 1}\n```\nHope it helps.', A),
    ('```python\nprint("x")\n```\nthen\n```json\n{"a": 1}\n```', A),
    ('```json\n{"a": 1}', A),
    ('``` json\n{"a": 1}\n```', A),
    ('Here it is: {"a": 1} and more {"b": 2}', A),
    ('Here: {"a": {"b": [1, {"c": 2}]}}.', {"a": {"b": [1, {"c": 2}]}}),
    ('{"a": 1}\n{"b": 2}', A),
    ('{not json} but {"a": 1}', A),
    ('{{"a": 1}}', A),
    ('{"s": "a ``` b"}', {"s": "a ``` b"}),
    ('```json\n{"s": "a\\n```\\nb"}\n```', {"s": "a\n```\nb"}),
    ('{"s": "line\nbreak\ttab"}', {"s": "line\nbreak\ttab"}),
    ('{"s": "}{][\\""}', {"s": '}{]["'}),
    ('<think>maybe {"x": 0}?</think>\n{"a": 1}', A),
    ('{"u": "\\u00e9\\ud83d\\ude00"}', {"u": "é😀"}),
    ("The list [see below] is: [1, [2, 3]]", [1, [2, 3]]),
    ('{"a": 1e3}', {"a": 1000.0}),
    ('answer={"a":1};', A),
    ('> {"a": 1}', A),
    ('{"a": 1}</s>', A),
]
UNREADABLE = [
    "",
    "   ",
    "no json here",
    '"a string"',
    "42",
    "true",
    "null",
    '{"a": {"b": 1}, ',  # the inner object must not pass for the answer
    '{"items": [{"a": 1}, {"a": 2}',
    '[{"a": 1}, {"a": 2}',
    '{"text": "an unfinished string with {"',
    '{"a": "x {\\"b\\": 1}',
    "{'a': 1}",
    "{a: 1}",
    '{"a": 1,}',
    '{"a": NaN}',
    '{"a": Infinity}',
    '{"a": undefined}',
    '{"a" 1}',
    "{" * 100_000,
    "[" * 100_000,
    '{"a":' * 50_000,
    "}{",
    "```json\n```",
    '{"n": ' + "9" * 5000 + "}",
]


@pytest.mark.parametrize(("text", "value"), FOUND, ids=range(len(FOUND)))
def test_json_is_found(text, value):
    assert parse_json(text) == value


@pytest.mark.parametrize("text", UNREADABLE, ids=range(len(UNREADABLE)))
def test_anything_else_is_a_clear_error_with_a_sample(text):
    with pytest.raises(AnswerUnreadable) as caught:
        parse_json(text)
    assert caught.value.details["sample"] == text.strip()[:200]
    assert len(str(caught.value)) < 400


def test_the_wanted_type_is_preferred_and_scalars_must_be_asked_for():
    text = 'As [1] says: {"a": 1}'
    assert parse_json(text) == [1]
    assert parse_json(text, want=dict) == A
    assert parse_json("only [1]", want=dict) == [1]  # the schema's violations say the rest
    assert parse_json('"bug"', scalars=True) == "bug"


def test_a_long_broken_answer_is_read_in_linear_time():
    text = '{"a": [' * 3000 + "x " * 200_000 + '{"b" ' * 3000
    with pytest.raises(AnswerUnreadable):
        parse_json(text)


SCHEMA = {
    "type": "object",
    "required": ["label", "score"],
    "additionalProperties": False,
    "properties": {
        "label": {"enum": ["bug", "praise"]},
        "score": {"type": "integer", "minimum": 1, "maximum": 5},
        "tags": {
            "type": "array",
            "items": {"type": "string", "maxLength": 5},
            "minItems": 1,
            "uniqueItems": True,
        },
        "who": {"anyOf": [{"type": "object", "required": ["name"]}, {"type": "null"}]},
        "code": {"type": "string", "pattern": "^[a-z]+$"},
        "same": {"const": 1},
    },
}
FITS = {"label": "bug", "score": 3}
WRONG = [
    ({}, ['answer has no "label"', 'answer has no "score"']),
    ({**FITS, "label": "x"}, ['answer.label is "x", not one of "bug", "praise"']),
    ({**FITS, "score": "3"}, ['answer.score is "3", not a whole number']),
    ({**FITS, "score": 9}, ["answer.score is 9, at most 5 is allowed"]),
    ({**FITS, "lable": 1}, ['answer must not have "lable"; did you mean `label`?']),
    ({**FITS, "tags": ["far too long"]}, ["answer.tags[0] has 12 characters, at most 5 are allowed"]),
    ({**FITS, "tags": []}, ["answer.tags has 0 elements, at least 1 are needed"]),
    ({**FITS, "tags": ["a", "a"]}, ["answer.tags has the same element twice"]),
    ({**FITS, "who": {}}, ['answer.who fits none of the allowed shapes (nearest: answer.who has no "name")']),
    ({**FITS, "code": "A1"}, ["answer.code does not match the pattern ^[a-z]+$"]),
    ({**FITS, "same": 2}, ["answer.same is 2, not 1"]),
    ([], ["answer is [], not an object"]),
    ("bug", ['answer is "bug", not an object']),
]


@pytest.mark.parametrize(("value", "lines"), WRONG, ids=range(len(WRONG)))
def test_violations_in_plain_words_with_their_place(value, lines):
    assert AnswerValidator(SCHEMA).violations(value) == lines


def test_what_fits_has_none_and_many_are_bounded():
    schema = AnswerValidator(SCHEMA)
    assert schema.violations(FITS) == []
    assert len(AnswerValidator({"items": {"type": "string"}}).violations(list(range(500)))) == 20


def test_the_reask_names_each_violation():
    text = reask(AnswerValidator(SCHEMA).violations({}))
    assert '- answer has no "label"\n- answer has no "score"' in text and text.endswith("nothing else.")


def test_a_schema_is_compiled_once_and_says_what_to_look_for():
    assert answer_validator(SCHEMA) is answer_validator(json.loads(json.dumps(SCHEMA)))
    assert AnswerValidator(SCHEMA).parse('[1] {"label": "bug", "score": 1}') == {"label": "bug", "score": 1}
    assert AnswerValidator({"enum": ["bug", "praise"]}).parse('"bug"') == "bug"
    assert AnswerValidator({"type": ["array", "null"]}).parse("null") is None
    with pytest.raises(AnswerUnreadable):
        AnswerValidator(SCHEMA).parse('"bug"')


def test_a_reference_to_elsewhere_is_refused_and_not_fetched():
    schema = AnswerValidator({"$ref": "http://127.0.0.1:9/x.json"})
    with pytest.raises(InvalidInput, match="nothing is fetched"):
        schema.violations({})
