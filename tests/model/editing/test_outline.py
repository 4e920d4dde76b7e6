"""The outline of YAML that is being written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.model.editing.outline import outline_of

TEXT = """llm: {model: "openai:gpt-5-mini", max_tokens: 200}
tasks:
  - extract
  - name: label   # a comment: none
    for_each: "{{ seed.rows }}"
    prompt: |
      Label: {{ item.text }}
      key: this is no key
    output: {type: object, properties: {label: {enum: [bug, praise]}}}
  - {name: sum, needs: [extract, label], prompt: 'It''s {{ tasks.label }}'}
"""


def place(marked: str) -> tuple[Any, ...] | None:
    cursor = marked.index("¦")
    found = outline_of(marked.replace("¦", ""), cursor).place
    return None if found is None else (found.role, found.path, found.typed)


def test_keys_and_values_have_their_paths() -> None:
    outline = outline_of(TEXT)
    assert outline.names(()) == ["llm", "tasks"]
    assert outline.names(("llm",)) == ["model", "max_tokens"]
    assert outline.names(("tasks", 1)) == ["name", "for_each", "prompt", "output"]
    assert outline.names(("tasks", 1, "output", "properties")) == ["label"]
    assert outline.names(("tasks", 2)) == ["name", "needs", "prompt"]
    assert outline.values["tasks", 0] == "extract"
    assert outline.values["tasks", 1, "name"] == "label"
    assert outline.values["tasks", 2, "needs", 1] == "label"
    assert outline.values["llm", "model"] == "openai:gpt-5-mini"
    key = outline.key_at(TEXT.index("for_each") + 2)
    assert key is not None and (key.name, TEXT[key.start : key.end]) == ("for_each", "for_each")


@pytest.mark.parametrize(
    ("marked", "found"),
    [
        ("¦", ("key", (), "")),
        ("ta¦", ("key", (), "ta")),
        ("ta¦sks:\n", ("key", (), "ta")),
        ("llm: ope¦", ("value", ("llm",), "ope")),
        ("llm: ¦", ("value", ("llm",), "")),
        ("llm:¦", None),
        ("llm:\n  ¦", ("key", ("llm",), "")),
        ("llm:\n  mo¦\ntasks:\n  - a\n", ("key", ("llm",), "mo")),
        ("llm: {¦}", ("key", ("llm",), "")),
        ("llm: {mo¦}", ("key", ("llm",), "mo")),
        ("llm: {model: op¦}", ("value", ("llm", "model"), "op")),
        ('llm: {model: "op¦"}', ("value", ("llm", "model"), "op")),
        ("llm: {model: a, te¦}", ("key", ("llm",), "te")),
        ("llm: {model: a,\n  te¦}", ("key", ("llm",), "te")),
        ("tasks:\n  - ¦", ("entry", ("tasks", 0), "")),
        ("tasks:\n  - na¦", ("entry", ("tasks", 0), "na")),
        ("tasks:\n- na¦", ("entry", ("tasks", 0), "na")),
        ("tasks:\n  - name: a\n    ¦", ("key", ("tasks", 0), "")),
        ("tasks:\n  - name: a\n    pro¦\n  - name: b\n", ("key", ("tasks", 0), "pro")),
        ("tasks:\n  - name: a\n  - name: b\n    retry:\n      ma¦", ("key", ("tasks", 1, "retry"), "ma")),
        ("tasks:\n  - name: a\n    needs: [x, y¦]", ("value", ("tasks", 0, "needs", 1), "y")),
        ("tasks:\n  - name: a\n    needs:\n      - y¦", ("entry", ("tasks", 0, "needs", 0), "y")),
        ("tasks:\n  - {name: a, pr¦", ("key", ("tasks", 0), "pr")),
        ("tasks:\n  - name: a\n    prompt: |\n      Hi {{ it¦", ("value", ("tasks", 0, "prompt"), "      Hi {{ it")),
        ("tasks:\n  - name: a\n    prompt: |\n      Hi\n    ¦", ("key", ("tasks", 0), "")),
        ('tasks:\n  - name: a\n    prompt: "Hi {{ it¦ }}"', ("value", ("tasks", 0, "prompt"), "Hi {{ it")),
        ('tasks:\n  - {name: a, prompt: "Hi: {{ it¦ }}"}', ("value", ("tasks", 0, "prompt"), "Hi: {{ it")),
        ("# a comm¦ent\n", None),
        ("tasks: # ¦\n", None),
        ("budget: {usd: 1}\n¦", ("key", (), "")),
        ("llm: {model: op¦\ntasks:\n  - a\n", ("value", ("llm", "model"), "op")),
    ],
)  # fmt: skip
def test_the_place_of_the_cursor(marked: str, found: tuple[Any, ...] | None) -> None:
    assert place(marked) == found


def test_what_is_open_at_the_cursor_does_not_swallow_the_rest() -> None:
    text = 'llm: {model: op\ntasks:\n  - name: a\n    prompt: "Hi {{ \n  - name: b\n'
    outline = outline_of(text, text.index("op") + 2)
    assert [outline.values["tasks", i, "name"] for i in (0, 1)] == ["a", "b"]


@given(st.text(alphabet="ab:-#{}[],\"'|> \n\\", max_size=80), st.integers(0, 80))
def test_any_text_has_an_outline(text: str, cursor: int) -> None:
    outline = outline_of(text, min(cursor, len(text)))
    for keys in outline.keys.values():
        for key in keys:
            assert 0 <= key.start <= key.end <= len(text)
    if outline.place is not None:
        assert outline.place.start <= min(cursor, len(text))


def test_a_long_text_is_scanned_in_little_time() -> None:
    text = "tasks:\n" + "  - {name: a, prompt: 'x {{ item.a }}', llm: {model: b}}\n" * 1700
    assert len(outline_of(text, len(text) - 5).keys) > 1700
