"""What templates print of a value, whichever way: `{{ }}`, `~`, filters and formats say the same."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import UndefinedError

from po_jupyter.engine.prompts.sandbox import make_sandbox
from po_jupyter.model.values.lazy_list import LazyList

SANDBOX = make_sandbox()


class Rows(LazyList):
    """Two rows that are made when they are read."""

    def __len__(self) -> int:
        return 2

    def read(self, index: int) -> Any:
        return index + 1


def rendered(template: str, **values: Any) -> str:
    return SANDBOX.from_string(template).render(values)


PRINTED = [
    ("text", "text"), ("", ""), (7, "7"), (10**30, str(10**30)), (1.5, "1.5"), (True, "true"), (None, "null"),
    ([1, "é", None], '[1, "é", null]'), ({"a": [False]}, '{"a": [false]}'), ((1, 2), "[1, 2]"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), PRINTED)
def test_every_way_prints_the_same(value: Any, text: str) -> None:
    assert rendered("{{ x }}", x=value) == text
    assert rendered("{{ x ~ '' }}", x=value) == text
    assert rendered("{{ x | string }}", x=value) == text
    assert rendered("{{ [x] | join }}", x=value) == text


@pytest.mark.parametrize(("value", "text"), PRINTED)
def test_formats_print_what_is_no_number_as_braces_do(value: Any, text: str) -> None:
    """An object or list is one argument, and is not Python's."""
    assert rendered("{{ '%s' | format(x) }}", x=value) == text
    assert rendered("{{ '%s' % (x, ) }}", x=value) == text
    assert rendered("{{ '%(x)s' | format(x=x) }}{{ '%(x)s' % {'x': x} }}", x=value) == text * 2
    if not isinstance(value, tuple):
        assert rendered("{{ '%s' % x }}", x=value) == text


def test_numbers_keep_their_formats() -> None:
    assert rendered("{{ '%.2f %05d' | format(1.005, 7) }}") == "1.00 00007"
    assert rendered("{{ '{:.1f} {}'.format(2.25, none) }}") == "2.2 null"
    assert rendered("{{ '{x[a]} {x}'.format(x={'a': 1}) }}") == "1 {'a': 1}", "fields may name parts"


def test_json_has_no_escapes_of_html_and_a_bounded_indent() -> None:
    assert rendered("{{ {'a': '<é>'} | tojson }}") == '{"a": "<é>"}'
    assert rendered("{{ [1] | tojson(2) }}") == "[\n  1\n]"
    assert rendered("{{ [1] | tojson('  ') }}") == "[\n  1\n]"
    assert len(rendered("{{ [1] | tojson(100000000) }}")) < 200


def test_what_is_a_list_in_all_but_name_is_printed_as_one() -> None:
    assert rendered("{{ {'a': 1}.items() }}") == '[["a", 1]]'
    assert rendered("{{ [1, 2] | map('string') }}") == '["1", "2"]'
    assert rendered("{{ rows }}", rows=Rows()) == "[1, 2]"
    assert rendered("{% set n = namespace(a=1) %}{{ n }}") == "<namespace>"


@pytest.mark.parametrize(
    "template",
    [
        "{{ rows | map(attribute='output.label') | list }}",
        "{{ rows | map(attribute='output.label') }}",
        "{{ rows | map(attribute='output.label') | tojson }}",
        "{{ {'labels': [rows[1].output.label]} }}",
        "{{ [[[rows[1].output.label]]] ~ '' }}",
    ],
)
def test_what_is_not_there_is_named_also_inside_of_a_list(template: str) -> None:
    """A row that failed has no output: its label is none, and no recursion without an end."""
    with pytest.raises(UndefinedError, match="null has no 'label'"):
        rendered(template, rows=[{"output": {"label": "bug"}}, {"output": None}])


def test_lists_in_all_but_name_inside_of_values_are_printed_as_lists() -> None:
    assert (
        rendered("{{ {'a': x.items(), 'b': [x | map('upper')]} }}", x={"k": 1})
        == '{"a": [["k", 1]], "b": [["K"]]}'
    )
