"""Help while a text is written takes time in proportion to the text, whatever it is: the server waits meanwhile."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from po_jupyter.model.editing.completion import MAX_TEXT, CursorContext, help_at
from po_jupyter.model.editing.outline import outline_of
from po_jupyter.model.editing.templates import TemplateName, name_in

SECONDS = 5.0  # a hundredth of what these took, and many times what they take
PROMPT = "tasks:\n  - prompt: |\n      "
TASKS = "tasks:\n"


def filled(start: str, unit: str, end: str = "") -> str:
    """A text as long as one that is looked at."""
    return start + unit * ((MAX_TEXT - len(start) - len(end)) // len(unit)) + end


TEXTS = {
    "a name": filled(PROMPT + "{{ ", "a", "!"),
    "a chain of names": filled(PROMPT + "{{ ", "a.", "!"),
    "indexes": filled(PROMPT + "{{ a", "[0]", "!"),
    "braces that open": filled(PROMPT, "{{"),
    "braces that close at the end": filled(PROMPT, "{{", "}}"),
    "spaces in a line without a key": filled("a", " ", "b"),
    "words in a line without a key": filled("", "a ", "b"),
    "colons": filled("a", ":", "b"),
    "quotes": filled("", "'", "b"),
    "dashes": filled("", "- ", ""),
    "values below dashes": "- " * 20_000 + filled("", '\n""')[:59_000],
    "brackets": filled("a: ", "["),
    "quotes in a list": filled("a: [x", "'"),
    "spaces and quotes in a list": "a: [" + " " * 49_000 + "x" + "'" * 49_000,
    "tasks": filled(TASKS, "- a\n") + "\n",
}
NAMED = [f"- {number:05}\n" for number in range(10_000)]
TEXTS["needs of many tasks"] = TASKS + "".join(NAMED) + "- name: x\n  needs: [ "
TEXTS["a template after many tasks"] = TASKS + "".join(NAMED) + '- name: x\n  prompt: "{{ tasks.'


@pytest.mark.parametrize("name", TEXTS)
def test_no_text_takes_more_than_its_length(name: str) -> None:
    """It had been the square of the length: minutes for a text of 100,000 characters."""
    text = TEXTS[name][:MAX_TEXT]
    started = time.process_time()
    CursorContext.of(text, len(text)).suggestions()
    help_at(text, len(text) // 2)
    assert time.process_time() - started < SECONDS


def test_only_what_is_near_the_cursor_is_a_name() -> None:
    assert name_in("x" * 100_000 + "{{ seed.ro") == TemplateName(("seed",), "ro")
    assert name_in("{{ " + "a" * 100_000) is None
    assert name_in("{{ a }}{{ b.") == TemplateName(("b",), "")
    assert name_in("{{ b }}") is None
    assert name_in("{{ f(x).a") is None


def test_brackets_in_brackets_take_no_memory_each() -> None:
    """Each had the path of all around it: 40 GB for a text of brackets."""
    tracemalloc.start()
    try:
        outline_of("a: " + "[" * 5_000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("a b : c", "a b"),
        ("a :b: c", "a :b"),
        ("a:b:c: d", "a:b:c"),
        (": a: b", ": a"),
        ("a  b   :", "a  b"),
        ("'it''s': x", "it''s"),
        ('"a\\"b" : x', 'a\\"b'),
        ("a # b: c", None),
        ("http://x", None),
    ],
)
def test_keys(line: str, key: str | None) -> None:
    assert outline_of(line).names(()) == ([] if key is None else [key])
