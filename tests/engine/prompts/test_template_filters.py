"""The filters of templates: those of the list, each saying what Jinja's says, and none making what is too large."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import Environment
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS

from po_jupyter.engine.prompts.sandbox import make_sandbox
from po_jupyter.engine.prompts.template_filters import filters, percent_size

SANDBOX = make_sandbox()
PLAIN = Environment(autoescape=False)
VALUES: dict[str, Any] = {
    "t": "the <b>quick</b> brown fox, see https://example.org now",
    "rows": [{"k": "b", "n": 2}, {"k": "a", "n": 1}, {"k": "b", "n": 3}],
    "n": [3, 1, 2], "x": -7.256, "m": {"b": 1, "a": 2},
}  # fmt: skip


def rendered(template: str, **values: Any) -> str:
    return SANDBOX.from_string(template).render({**VALUES, **values})


@pytest.mark.parametrize(
    "use",
    [
        "t | capitalize", "t | center(80)", "t | escape", "t | indent(2, true)", "t | lower", "t | replace('e', 'EE')",
        "t | striptags", "t | title", "t | trim", "t | truncate(12)", "t | upper", "t | urlize", "t | wordcount",
        "t | wordwrap(10)", "t | urlencode", "m | urlencode", "x | abs", "x | round(1)", "x | int",
        "'0x1f' | int(0, 16)",
        "n | sum", "n | join('-')", "n | max", "n | min", "n | first", "n | last", "n | length", "n | sort | join",
        "rows | map(attribute='k') | join(',')", "rows | sum(attribute='n')",
        "rows | selectattr('n', 'gt', 1) | list | length",
        "rows | rejectattr('n', 'gt', 1) | map(attribute='k') | join", "rows | join('/', attribute='k')",
        "('%s and %05.1f') | format('a', 2.25)", "3141592 | filesizeformat", "nope | default('d')", "n | unique | join",
    ],
)  # fmt: skip
def test_a_filter_says_what_jinjas_says(use: str) -> None:
    assert rendered(f"{{{{ {use} }}}}") == PLAIN.from_string(f"{{{{ {use} }}}}").render(VALUES)


@pytest.mark.parametrize(
    ("use", "text"),
    [
        ("m | dictsort", '[["a", 2], ["b", 1]]'),
        ("n | reverse", "[2, 1, 3]"),
        ("n | batch(2, 0)", "[[3, 1], [2, 0]]"),
        ("n | slice(2)", "[[3, 1], [2]]"),
        ("[[1], [2]] | sum(start=[])", "[1, 2]"),
        ("rows | groupby('k') | map(attribute='grouper') | list", '["a", "b"]'),
        ("none | upper", "NULL"),
        ("[none, true] | join(' ')", "null true"),
        ("none | string", "null"),
    ],
)
def test_filters_of_our_own_and_those_that_print_values(use: str, text: str) -> None:
    assert rendered(f"{{{{ {use} }}}}") == text


def test_there_are_no_filters_but_those_of_the_list() -> None:
    assert set(FILTERS) - set(filters()) == {"xmlattr"}
    assert set(filters()) <= set(FILTERS)


@pytest.mark.parametrize(
    "use",
    [
        "t | center(99999999)", "('\\n' * 9999) | indent(99999)", "('a' * 9999) | replace('a', 'b' * 9999)",
        "(('a ' * 99999) | wordwrap(1, wrapstring='x' * 9999))", "1 | round(99999)", "('9' * 9999) | int",
        "'%99999999d' | format(1)", "'%*d' | format(9, 1)", "range(9999999) | list", "[[0]] | sum(start='')",
        "range(4000000) | batch(1, 1) | map('sum') | list | length", "('a' * 9999999) | escape | urlize | urlize",
    ],
)  # fmt: skip
def test_what_a_filter_would_make_too_large_is_refused(use: str) -> None:
    with pytest.raises((SecurityError, OverflowError, TypeError)):
        rendered(f"{{{{ {use} }}}}")


def test_the_size_of_directives_is_known_before_they_are_filled() -> None:
    assert percent_size("a%5d%.3f%%") == len("a%5d%.3f%%") + 5 + 3
    assert percent_size("%(name)9s" * 200) == len("%(name)9s" * 200) + 9 * 200
    for width in ("%*d", "%.*f", "%9999999999d"):
        with pytest.raises(SecurityError):
            percent_size(width)
