"""Broken JSON, a table: what is meant is found or it is a clear error; nothing else is passed off (B8).

The kinds of damage are those that maintained repair libraries name as theirs (json-repair for Python,
"Supported use cases"; jsonrepair for JavaScript, README; read 2026-11); the cases are our own. Nothing is
repaired by guessing: an answer that would have to be guessed at is asked for again, which its author does
better.
"""

import json

import pytest

from po_jupyter.errors import AnswerUnreadable
from po_jupyter.llm.structured.parsing import parse_json, reask

A = {"a": 1, "b": [2, 3]}
T = '{"a": 1, "b": [2, 3]}'
# name: (text, what is meant, whether we find it)
TABLE = {
    # wrapped in something
    "prose before": (f"Here is the answer:\n\n{T}", A, True),
    "prose after": (f"{T}\n\nLet me know if you need more.", A, True),
    "prose around, with brackets": (f"As asked (see note [1]): {T} -- done.", A, True),
    "fenced": (f"```json\n{T}\n```", A, True),
    "fenced without a language": (f"```\n{T}\n```", A, True),
    "fenced as javascript": (f"```javascript\n{T}\n```", A, True),
    "fenced as json5": (f"```json5\n{T}\n```", A, True),
    "fenced, indented": (f"  ```json\n  {T}\n  ```", A, True),
    "fenced, never closed": (f"```json\n{T}", A, True),
    "closed, never fenced": (f"{T}\n```", A, True),
    "fenced twice, the same": (f"```json\n{T}\n```\n```json\n{T}\n```", A, True),
    "fenced after an example of code": (f"```python\nx = [\n```\nso\n```json\n{T}\n```", A, True),
    "with tildes": (f"~~~json\n{T}\n~~~", A, True),
    "in inline code": (f"`{T}`", A, True),
    "quoted as mail": (f"> {T}", A, True),
    "in a list of Markdown": (f"- {T}", A, True),
    "in bold": (f"**{T}**", A, True),
    "in XML": (f"<answer>{T}</answer>", A, True),
    "in CDATA": (f"<![CDATA[{T}]]>", A, False),
    "after thoughts": (f"<think>Perhaps {{}}?</think>\n{T}", A, True),
    "as an assignment": (f"const answer = {T};", A, True),
    "as a return": (f"return {T}", A, True),
    "as JSONP": (f"callback({T});", A, True),
    "as a call": (f"print(json.dumps({T}))", A, True),
    "with a byte order mark": ("\ufeff" + T, A, True),
    "with a shebang of a model": (f"<|im_start|>assistant\n{T}<|im_end|>", A, True),
    "with end of text": (T + "</s>", A, True),
    "with zero-width spaces around": (f"\u200b{T}\u200b", A, True),
    "with carriage returns": (T.replace(" ", "\r\n"), A, True),
    "with tabs": (T.replace(" ", "\t"), A, True),
    "several lines, one answer": (f"{T}\n{T}", A, True),
    "one a line": ('{"a": 1}\n{"a": 2}\n{"a": 3}', [{"a": 1}, {"a": 2}, {"a": 3}], None),
    # strings
    "line break in a string": ('{"a": "x\ny"}', {"a": "x\ny"}, True),
    "tab in a string": ('{"a": "x\ty"}', {"a": "x\ty"}, True),
    "brackets in a string": ('{"a": "}{]["}', {"a": "}{]["}, True),
    "a fence in a string": ('{"a": "```json"}', {"a": "```json"}, True),
    "escaped quotes": ('{"a": "say \\"hi\\""}', {"a": 'say "hi"'}, True),
    "unescaped quotes": ('{"a": "say "hi" now"}', {"a": 'say "hi" now'}, False),
    "a bad escape": ('{"a": "C:\\path"}', {"a": "C:\\path"}, False),
    "half an escape": ('{"a": "\\u12"}', {"a": "?"}, False),
    "single quotes": ("{'a': 1, 'b': [2, 3]}", A, False),
    "backticks": ("{`a`: 1, `b`: [2, 3]}", A, False),
    "curly quotes": ("{“a”: 1, “b”: [2, 3]}", A, False),
    "keys without quotes": ("{a: 1, b: [2, 3]}", A, False),
    "values without quotes": ('{"a": bug}', {"a": "bug"}, False),
    "a quote is missing at the end": ('{"a": "bug}', {"a": "bug"}, False),
    "a quote is missing at the beginning": ('{"a": bug"}', {"a": "bug"}, False),
    "a key's quote is missing": ('{"a: 1}', {"a": 1}, False),
    "strings joined": ('{"a": "x" + "y"}', {"a": "xy"}, False),
    "the whole escaped": (json.dumps(T), A, False),
    "the whole escaped without quotes": (T.replace('"', '\\"'), A, False),
    # commas, colons and brackets
    "a comma at the end of an object": ('{"a": 1, "b": [2, 3],}', A, False),
    "a comma at the end of a list": ('{"a": 1, "b": [2, 3,]}', A, False),
    "a comma at the beginning": ('{, "a": 1}', {"a": 1}, False),
    "a comma too many": ('{"a": 1,, "b": [2, 3]}', A, False),
    "a comma is missing in an object": ('{"a": 1 "b": [2, 3]}', A, False),
    "a comma is missing in a list": ('["x" "y"]', ["x", "y"], False),
    "a comma is missing between objects": ('[{"a": 1} {"a": 2}]', [{"a": 1}, {"a": 2}], False),
    "a colon is missing": ('{"a" 1}', {"a": 1}, False),
    "a colon too many": ('{"a":: 1}', {"a": 1}, False),
    "equals for colons": ('{"a" = 1}', {"a": 1}, False),
    "semicolons for commas": ('{"a": 1; "b": 2}', {"a": 1, "b": 2}, False),
    "no value": ('{"a": }', {"a": None}, False),
    "a bracket too many": (T + "}", A, True),
    "a bracket too many in front": ("{" + T + "}", A, True),
    "the wrong bracket": ('{"a": 1, "b": [2, 3}}', A, False),
    # cut off
    "cut in a list": ('{"a": 1, "b": [2', A, False),
    "cut after a list": ('{"a": 1, "b": [2, 3]', A, False),
    "cut after a comma": ('{"a": 1,', {"a": 1}, False),
    "cut after a colon": ('{"a":', {"a": None}, False),
    "cut in a key": ('{"a": 1, "b', A, False),
    "cut in a string": ('{"a": "half of', {"a": "half of"}, False),
    "cut in an escape": ('{"a": "half\\', {"a": "half"}, False),
    "cut in a literal": ('{"a": tru', {"a": True}, False),
    "cut in a nested object": ('{"a": {"b": {"c": 1}, "d": 2', {"a": {"b": {"c": 1}, "d": 2}}, False),
    "cut in a list of objects": ('[{"a": 1}, {"a": 2}, {"a":', [{"a": 1}, {"a": 2}], False),
    "cut at the front": ('1, "b": [2, 3]}', A, None),
    "with an ellipsis": ('{"a": 1, "b": [2, 3, ...]}', A, False),
    "shortened by hand": ('[{"a": 1}, // ... more ...\n]', [{"a": 1}], False),
    # other languages
    "Python's constants": ('{"a": True, "b": None}', {"a": True, "b": None}, False),
    "JavaScript's undefined": ('{"a": undefined}', {"a": None}, False),
    "NaN": ('{"a": NaN}', {"a": None}, False),
    "minus infinity": ('{"a": -Infinity}', {"a": None}, False),
    "upper case": ('{"a": TRUE}', {"a": True}, False),
    "hexadecimal": ('{"a": 0x1F}', {"a": 31}, False),
    "a leading zero": ('{"a": 007}', {"a": 7}, False),
    "a leading point": ('{"a": .5}', {"a": 0.5}, False),
    "a point at the end": ('{"a": 5.}', {"a": 5}, False),
    "a plus": ('{"a": +5}', {"a": 5}, False),
    "thousands": ('{"a": 1,000}', {"a": 1000}, False),
    "underscores": ('{"a": 1_000}', {"a": 1000}, False),
    "a fraction": ('{"a": 1/2}', {"a": 0.5}, False),
    "a line comment": ('{"a": 1, // one\n "b": [2, 3]}', A, False),
    "a block comment": ('{"a": 1, /* two */ "b": [2, 3]}', A, False),
    "a comment before": (f"// the answer\n{T}", A, True),
    "a hash comment": ('{"a": 1, # one\n "b": [2, 3]}', A, False),
    "a Python tuple": ('{"a": (1, 2)}', {"a": [1, 2]}, False),
    "a Python set": ("{1, 2}", [1, 2], False),
    "MongoDB's types": ('{"a": NumberLong("1")}', {"a": 1}, False),
    "YAML": ("a: 1\nb:\n  - 2\n  - 3", A, False),
    "a table": ("| a | b |\n|---|---|\n| 1 | 2 |", {"a": 1, "b": 2}, False),
    "prose only": ("The label is bug.", {"label": "bug"}, False),
    "an apology": ("I'm sorry, but I cannot answer that.", None, False),
    "nothing": ("", None, False),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_what_is_meant_is_found_or_it_is_a_clear_error(name):
    """B8: never something that was not said, never a silent string."""
    text, meant, found = TABLE[name]
    want = type(meant) if isinstance(meant, dict | list) else None
    try:
        value = parse_json(text, want=want)
    except AnswerUnreadable as caught:
        error = caught
    else:
        assert found is not False, f"{value!r} was made of it"
        if found:
            assert value == meant
        else:  # several things could be meant; what is returned was said in so many words
            assert json.dumps(value) in text.replace("\n", " ")
        return
    assert found is not True, error
    assert error.details["sample"] == text.removeprefix("\ufeff").strip()[:200]
    assert reask([error.message])


def test_the_table_is_long_and_balanced():
    assert len(TABLE) >= 100
    assert sum(found is True for _, _, found in TABLE.values()) >= 30
