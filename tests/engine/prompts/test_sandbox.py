"""The sandbox of templates: what a template may call and name, and what an undefined name says."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2.exceptions import SecurityError, TemplateError, UndefinedError

from po_jupyter.engine.prompts.sandbox import make_sandbox

SANDBOX = make_sandbox()


def rendered(template: str, **values: Any) -> str:
    return SANDBOX.from_string(template).render(values)


def test_a_key_of_a_mapping_wins_over_its_method() -> None:
    assert rendered("{{ x.items }} {{ x.keys() | list }}", x={"items": 3}) == '3 ["items"]'
    assert rendered("{{ x['get'] }}", x={"get": 1}) == "1"
    assert rendered("{{ x.get('a', 5) }}", x={}) == "5"


def test_the_number_of_a_column_names_it() -> None:
    """The columns of `pd.DataFrame([[1, 2]])` are 0 and 1, and "0" and "1" in JSON."""
    x, rows = {"0": 7, "1": 8}, [{"0": 9}]
    assert rendered("{{ x[0] }} {{ x.1 }} {{ rows | map(attribute=0) | first }}", x=x, rows=rows) == "7 8 9"
    with pytest.raises(UndefinedError, match="there is no 2 here"):
        rendered("{{ x[2] }}", x={"0": 7})


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ x.nmae }}", "there is no 'nmae' here (it has name, b); did you mean `name`?"),
        ("{{ x['c'] }}", "there is no 'c' here (it has name, b)"),
        ("{{ y.a }}", "there is no 'a' here (it is empty)"),
        ("{{ text.a }}", "text has no 'a'"),
        ("{{ rows.a }}", "a list has no 'a'"),
        ("{{ number.a }}", "a number has no 'a'"),
        ("{{ nothing.a }}", "null has no 'a'"),
        ("{{ other }}", "'other' is not defined"),
    ],
)
def test_an_undefined_name_says_which_names_there_are(template: str, message: str) -> None:
    with pytest.raises(UndefinedError) as caught:
        rendered(template, x={"name": 1, "b": 2}, y={}, text="t", rows=[1], number=1, nothing=None)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "template",
    [
        "{{ x.__class__ }}", "{{ x.encode() }}", "{{ x.translate({}) }}", "{{ x.maketrans('a', 'b') }}",
        "{{ rows.append(1) }}", "{{ rows.sort() }}", "{{ m.update({'a': 1}) }}", "{{ m.pop('a') }}",
        "{{ f.__globals__ }}", "{{ '{0.__class__}'.format(x) }}", "{{ '{x.__class__}'.format_map({'x': x}) }}",
        "{{ x.format.__self__ }}", "{{ (1).real.__class__ }}", "{{ lipsum() }}", "{{ x | xmlattr }}",
        "{{ x | attr('__class__') }}", "{{ cycler.__init__ }}",
    ],
)  # fmt: skip
def test_what_is_not_in_the_lists_cannot_be_called_or_named(template: str) -> None:
    values = {"x": "text", "rows": [1], "m": {"a": 1}, "f": lambda: 1}
    with pytest.raises((TemplateError, SecurityError)):
        rendered(template, **values)
    assert (values["rows"], values["m"]) == ([1], {"a": 1})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ x.upper() }} {{ x.split('e') | length }} {{ '-'.join(rows) }}", "TEXT 2 a-b"),
        ("{{ rows.index('b') }} {{ rows.count('a') }}", "1 1"),
        ("{{ '{:>6}|{y}'.format(x, y=1) }}", "  text|1"),
        ("{{ '{a}'.format_map({'a': 2}) }}", "2"),
        ("{% for r in rows %}{{ loop.index }}{{ loop.last }}{{ loop.cycle('x', 'y') }}{% endfor %}", "1falsex2truey"),
        ("{% set c = cycler(1, 2) %}{{ c.next() }}{{ c.current }}", "12"),
        ("{% set j = joiner('+') %}{{ j() }}{{ j() }}", "+"),
        ("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(1) }}{{ m.name }}", "<1>m"),
        ("{% set n = namespace(t=0) %}{% for i in range(4) %}{% set n.t = n.t + i %}{% endfor %}{{ n.t }}", "6"),
        ("{{ 2 ** 10 }} {{ 'ab' * 2 }} {{ [1] + [2] }} {{ '%s!' % x }}", '1024 abab [1, 2] text!'),
        ("{{ x[1:3] }} {{ rows[::-1] }}", 'ex ["b", "a"]'),
    ],
)  # fmt: skip
def test_what_prompts_need_works(template: str, text: str) -> None:
    assert rendered(template, x="text", rows=["a", "b"]) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 99999999 }}", "{{ 99999999 * 'x' }}", "{{ [0] * 99999999 }}", "{{ 10 ** 99999 }}",
        "{% set n = namespace(x=9) %}{% for i in range(30) %}{% set n.x = n.x * n.x %}{% endfor %}",
        "{{ '%99999999d' % 1 }}", "{{ '%*d' % (9, 1) }}", "{{ '{:99999999}'.format(1) }}",
        "{{ '{:{w}}'.format(1, w=99999999) }}", "{{ 'x'.ljust(99999999) }}", "{{ 'x'.zfill(99999999) }}",
        "{{ ('a' * 9999).replace('', 'b' * 9999) }}", "{{ ('\\t' * 9999).expandtabs(99999) }}",
        "{{ ('x' * 99999).join('y' * 9999) }}", "{{ range(9999999) | list }}",
    ],
)  # fmt: skip
def test_what_would_grow_without_a_bound_is_refused(template: str) -> None:
    with pytest.raises((SecurityError, OverflowError)):
        rendered(template)
