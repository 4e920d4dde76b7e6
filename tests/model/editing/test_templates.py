"""Names that may stand in a template."""

from __future__ import annotations

import pytest

from po_jupyter.engine.prompts.template_filters import filters
from po_jupyter.model.editing.completion import CursorContext
from po_jupyter.model.editing.filters import FILTERS
from po_jupyter.model.editing.outline import outline_of
from po_jupyter.model.editing.templates import TemplateName, bound_names, is_template, name_in, upstream

SEED = {"rows": [{"text": "It crashes", "id": 3}], "language": "en", "a-b": 1}
PIPELINE = """tasks:
  - extract
  - name: label
    for_each: "{{ seed.rows }}"
    prompt: "Label: ITEM"
    output: {type: object, properties: {label: {enum: [bug]}, why: {type: string}}}
  - name: pick
    needs: extract
    prompt: "PICK"
    output: {type: object, properties: {best: {type: string}}}
  - name: report
    needs: [label, pick]
    prompt: "REPORT"
"""


def labels(marked: str) -> list[str]:
    cursor = marked.index("¦")
    context = CursorContext.of(marked.replace("¦", ""), cursor)
    return [one.label for one in context.suggestions((), SEED if context.needs_seed else None)]


@pytest.mark.parametrize(
    ("field", "typed", "found"),
    [
        ("ITEM", "{{ ¦ }}", ["seed", "tasks", "item"]),
        ("ITEM", "{{ it¦ }}", ["item"]),
        ("ITEM", "{{ item.¦ }}", ["text", "id"]),
        ("ITEM", "{{ seed.¦ }}", ["rows", "language"]),
        ("ITEM", "{{ seed.rows[0].t¦ }}", ["text"]),
        ("ITEM", "{{ tasks.¦ }}", ["extract"]),
        ("ITEM", "{{ seed.language }} ¦", []),
        ("ITEM", "{{ 'it¦' }}", []),
        ("ITEM", "{% if seed.l¦ %}", ["language"]),
        ("ITEM", "{{ item.text | upp¦ }}", ["upper"]),
        ("ITEM", "{{ item.text |¦ }}", sorted(FILTERS)),
        ("ITEM", "{{ item.text | upper | trim¦", ["trim"]),
        ("ITEM", "{% if item.text | leng¦ %}", ["length"]),
        ("ITEM", "{{ 'a|u¦' }}", []),
        ("ITEM", "a | upp¦", []),
        ("ITEM", "{{ |upp¦ }}", []),
        ("ITEM", "{% for row in seed.rows %}{{ ¦ }}", ["row", "loop", "seed", "tasks", "item"]),
        ("ITEM", "{% for row in seed.rows %}{{ row.¦ }}", ["text", "id"]),
        ("ITEM", "{% for row in seed.rows | sort if row.id %}{{ row.t¦ }}", ["text"]),
        ("ITEM", "{%- for row in seed.rows -%}{{ row.¦ }}", ["text", "id"]),
        ("ITEM", "{% for row in seed.rows %}{% endfor %}{{ r¦ }}", []),
        ("ITEM", "{% for row in seed.rows %}{{ loop.in¦ }}", ["index", "index0", "revindex"]),
        ("ITEM", "{% for a, b in seed.rows %}{{ b.¦ }}", []),
        ("ITEM", "{% for a, b in seed.rows %}{{ b¦ }}", ["b"]),
        ("ITEM", "{% set all = seed.rows %}{% for row in all %}{{ row.¦ }}", ["text", "id"]),
        ("ITEM", "{% for seed in tasks.x %}{{ seed.¦ }}", []),
        ("ITEM", "{% for row in range(3) %}{{ row.¦ }}", []),
        ("REPORT", "{% for row in tasks.label %}{{ row.¦ }}", ["index", "ok", "output", "error"]),
        ("REPORT", "{% for row in tasks.label %}{{ row.output.w¦ }}", ["why"]),
        ("PICK", "{{ ¦ }}", ["seed", "tasks"]),
        ("REPORT", "{{ tasks.¦ }}", ["label", "pick", "extract"]),
        ("REPORT", "{{ tasks.pick.¦ }}", ["best"]),
        ("REPORT", "{{ tasks.label[0].¦ }}", ["index", "ok", "output", "error"]),
        ("REPORT", "{{ tasks.label[0].output.l¦ }}", ["label"]),
        ("REPORT", "{{ tasks.label.¦ }}", []),
    ],
)
def test_names_in_templates(field: str, typed: str, found: list[str]) -> None:
    assert labels(PIPELINE.replace(field, typed)) == found


def test_rows_of_another_map_have_its_fields() -> None:
    text = 'tasks:\n  - {name: a, for_each: "{{ seed.rows }}", prompt: x}\n'
    text += '  - name: b\n    for_each: "{{ tasks.a }}"\n'
    assert labels(text + '    prompt: "{{ item.o¦ }}"\n')[0] == "ok"


def test_the_name_at_the_end_of_a_template() -> None:
    assert name_in("Hi {{ tasks['a-b'][0].ou") == TemplateName(("tasks", "a-b", "0"), "ou")
    assert name_in("Hi {{ x }} there") is None
    assert name_in("{{ f(x).y") is None
    assert is_template(("tasks", 0, "prompt", 1, "content"))
    assert not is_template(("tasks", 0, "output", "properties", "prompt"))


def test_tasks_upstream_follow_needs() -> None:
    outline = outline_of(PIPELINE)
    assert upstream(outline, 0) == []
    assert upstream(outline, 2) == ["extract"]
    assert upstream(outline, 3) == ["label", "pick", "extract"]


def test_the_filters_are_those_of_templates() -> None:
    """One list in two rooms: a kernel does not load the engine to complete a name."""
    assert set(FILTERS) == set(filters())


def test_loops_in_a_long_text_are_found_in_time() -> None:
    text = "{% for x in seed.rows %}" * 2000 + "{{ "
    assert bound_names(text) == {}
    text = "{% for x in seed.rows %}{{ x }}{% endfor %}" * 2000 + "{% for x in x %}"
    assert bound_names(text)["x"] == ("x", "0")
    assert bound_names("{% for " + "a," * 40_000) == {}
    assert bound_names("{% endfor %}" * 10) == {}


OPERATORS = """tasks:
  - {name: keep, for_each: "{{ seed.rows }}", where: "{{ KEEP }}"}
  - {name: yes, for_each: "{{ tasks.keep }}", prompt: "x", where: "{{ YES }}"}
  - name: by
    for_each: "{{ tasks.yes }}"
    group_by: {key: "{{ KEY }}", tokens: 500, combine: "{{ COMBINE }}"}
    prompt: "{{ GROUP }}"
  - name: same
    for_each: "{{ tasks.yes }}"
    needs: [yes]
    join: {to: "{{ TO }}", key: "{{ JOINED }}", where: "{{ PAIR }}"}
    prompt: "{{ ASKED }}"
  - {name: best, for_each: "{{ tasks.by }}", needs: [by], top_k: {k: 1, by: "{{ BY }}"}}
  - {name: label, for_each: "{{ tasks.same }}", prompt: "{{ LABEL }}", score: {expect: "{{ GOLD }}"}}
"""
ROW = ["text", "id"]


@pytest.mark.parametrize(
    ("field", "typed", "found"),
    [
        ("KEEP", "item.", ROW), ("KEEP", "", ["seed", "item"]), ("YES", "item.", ROW),
        ("YES", "", ["seed", "tasks", "item", "output"]), ("KEY", "item.", ROW), ("COMBINE", "item.", ["key", "rows"]),
        ("GROUP", "item.", ["key", "rows"]), ("GROUP", "item.rows[0].", ROW), ("TO", "", ["seed", "tasks"]),
        ("JOINED", "item.", ROW), ("PAIR", "item.", ["left", "right"]), ("ASKED", "item.left.", ROW),
        ("BY", "item.", ["index", "key", "size", "ok", "output", "error"]), ("LABEL", "item.", ["left", "right"]),
        ("GOLD", "", ["seed", "tasks", "item", "output"]),
    ],
)  # fmt: skip
def test_names_in_the_fields_of_operators_and_scores(field: str, typed: str, found: list[str]) -> None:
    """Which fields `item` has depends on the operator, and on those that its rows came by."""
    assert labels(OPERATORS.replace(f"{{{{ {field} }}}}", f"{{{{ {typed}¦ }}}}")) == found
