"""Templates: what they print, what they refuse, and what is known of them before a run."""

from __future__ import annotations

import time
from typing import Any

import pytest

from po_jupyter.engine.prompts.templates import PromptTemplate, RowsExpression, template_names
from po_jupyter.errors import TemplateFailed

SEED = {
    "text": "hi",
    "values": [1, 2],
    "items": "a key",
    "rows": [{"a": "ä", "n": 1}, {"a": "b", "n": 2}],
    "deep": {"get": "got", "x": None, "yes": True},
    "evil": "{{ 7 * 7 }}",
    "format": "{0.__class__}",
}
NAMES = template_names(
    seed=SEED, tasks={"extract": {"title": "T"}, "deep-dive": [1]}, config={}, run={"id": "r"}
)


def render(text: str) -> str:
    return PromptTemplate(text, task="t").render(NAMES)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("plain {text}", "plain {text}"),
        ("{{ seed.text }}", "hi"),
        ("{{ seed.values }}", "[1, 2]"),
        ("{{ seed.items }}", "a key"),
        ("{{ seed.deep.get }}", "got"),
        ("{{ seed.rows[0].a }}", "ä"),
        ("{{ seed.rows[0] }}", '{"a": "ä", "n": 1}'),
        ("{{ seed.rows }}", '[{"a": "ä", "n": 1}, {"a": "b", "n": 2}]'),
        ("{{ seed.deep.x }} {{ seed.deep.yes }} {{ none }} {{ 1.5 }}", "null true null 1.5"),
        ("{{ tasks.extract.title }}", "T"),
        ('{{ tasks["deep-dive"][0] }}', "1"),
        ("{{ seed.rows | map(attribute='a') | join(', ') }}", "ä, b"),
        ("{{ seed.rows | map(attribute='a') }}", '["ä", "b"]'),
        ("{{ seed.rows | join(';') }}", '{"a": "ä", "n": 1};{"a": "b", "n": 2}'),
        ("{{ seed.deep.keys() }}", '["get", "x", "yes"]'),
        ("{% for r in seed.rows %}{{ loop.index }}{{ r.a }} {% endfor %}", "1ä 2b "),
        ("{{ seed.nope | default('none') }}", "none"),
        ("{% if seed.nope is defined %}x{% else %}y{% endif %}", "y"),
        ("{{ seed.text | tojson }} {{ '<a&b>' | tojson }}", '"hi" "<a&b>"'),
        ("a\n", "a\n"),
        ("{{ seed.evil }}", "{{ 7 * 7 }}"),
        ("{{ '<b>' }}", "<b>"),
        ("{{ seed.rows | length }} {{ range(3) | sum }}", "2 3"),
    ],
)
def test_what_a_template_prints(text: str, printed: str) -> None:
    """DESIGN 7: keys win over methods; values are JSON, not Python; data is never a template (P6)."""
    assert render(text) == printed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ seed.txt }}", "did you mean `text`?"),
        ("{{ sed.text }}", "'sed' is not defined"),
        ("one\ntwo {{ seed.nope }}", "prompt, line 2"),
        ("{{ seed.text.foo }}", "text has no 'foo'"),
        ("{{ seed.rows.foo }}", "a list has no 'foo'"),
        ("{{ seed.deep.x.foo }}", "null has no 'foo'"),
        ("{{ tasks.deep-dive }}", 'tasks["deep-dive"]'),
        ("{{ seed.values[7] }}", "a list has no 7"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ seed.text + 1 }}", "TypeError"),
    ],
)
def test_a_failure_names_the_task_and_what_is_there(text: str, said: str) -> None:
    with pytest.raises(TemplateFailed) as caught:
        render(text)
    assert said in str(caught.value)
    assert "task 't'" in str(caught.value)


ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ seed.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ '' | attr('__class__') }}",
    "{{ seed.text.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id') }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context.__class__ }}",
    "{{ range.__class__.__base__.__subclasses__() }}",
    "{{ seed.format.format(seed) }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(cycler) }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ seed.update({'a': 1}) }}",
    "{{ seed.values.append(3) }}",
    "{{ seed.pop('text') }}",
    "{{ 'a' * 1000000000 }}",
    "{{ [0] * 1000000000 }}",
    "{{ 9 ** 999999 }}",
    "{{ range(1000000000) | list }}",
    "{{ 'a'.ljust(10000000000) }}",
    "{{ 'a' | center(1000000000) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends 'x' %}",
    "{{ lipsum.__globals__ }}",
    "{{ (seed.text.upper).__func__ }}",
]


@pytest.mark.parametrize("text", ESCAPES)
def test_the_sandbox_holds(text: str) -> None:
    """P6, and nothing grows without a bound."""
    before = repr(SEED)
    begun = time.perf_counter()
    with pytest.raises(TemplateFailed):
        render(text)
    assert time.perf_counter() - begun < 1
    assert repr(SEED) == before


@pytest.mark.parametrize(
    "text", ["{{ seed.text", "{% if %}", "{% for x %}", "{{ x | nofilter }}", "{% endfor %}"]
)
def test_a_broken_template_says_its_line(text: str) -> None:
    with pytest.raises(TemplateFailed, match="line 2"):
        PromptTemplate("first\n" + text, task="t")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("{{ seed.values }}", [1, 2]),
        ("seed.values", [1, 2]),
        ("{{- seed.rows -}}", SEED["rows"]),
        ("{{ seed.rows | selectattr('n', 'gt', 1) }}", [{"a": "b", "n": 2}]),
        ("{{ [['a', 'b'], []] | map('map', 'upper') }}", [["A", "B"], []]),  # a row is looked at more than once
        ("range(3)", [0, 1, 2]),
        ("{{ seed['values'] + [{'a': {'b': 1}}] }}", [1, 2, {"a": {"b": 1}}]),
        ("{{ tasks['deep-dive'] }}", [1]),
    ],
)
def test_for_each_is_evaluated_natively(text: str, rows: list[Any]) -> None:
    """DESIGN 7, Maps: a list, not a string."""
    assert list(RowsExpression(text, task="t").evaluate(NAMES)) == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ seed.text }}", "text ('hi'), and a list is needed"),
        ("{{ seed }}", "Did you mean seed.values?"),
        ("{{ seed.deep }}", ".items()"),
        ("x {{ seed.values }}", "one expression"),
        ("{{ seed.a }}, {{ seed.b }}", "one expression"),
        ("", "one expression"),
        ("{{ seed.nope }}", "there is no 'nope'"),
        ("{{ none }}", "null, and a list is needed"),
        ("{{ seed.values[0] }}", "1, and a list is needed"),
        ("{{ seed.values + }}", "does not parse"),
    ],
)
def test_for_each_that_is_no_list(text: str, said: str) -> None:
    with pytest.raises(TemplateFailed) as caught:
        RowsExpression(text, task="t").evaluate(NAMES)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{{ x ~ '' }}", "null"),
        ("{{ none ~ true ~ 1.5 ~ 'a' }}", "nulltrue1.5a"),
        ("{{ flag ~ '!' }}", "true!"),
        ("{{ rows ~ '' }}", '[1, null, "é"]'),
        ("{% set y = x ~ rows %}{{ y }}", 'null[1, null, "é"]'),
        ("{{ x | string }}", "null"),
        ("{{ rows | map('string') | join(';') }}", "1;null;é"),
        ("{{ flag | upper }}", "TRUE"),
        ("{{ x | replace('null', '-') }}", "-"),
        ("{{ x | trim }}", "null"),
        ("{{ x | e }} {{ rows | escape }}", "null [1, null, &#34;é&#34;]"),
        ("{{ x | urlencode }} {{ {'a': none} | urlencode }}", "null a=null"),
        ("{{ x | striptags }} {{ flag | truncate(9) }} {{ x | safe }}", "null true null"),
        ("{{ x | center(6) }}", " null "),
        ("{{ '%s and %s' | format(x, flag) }}", "null and true"),
        ("{{ '%s' % x }}", "null"),
        ("{{ '%d %.1f %s' % (3, 1.25, rows) }}", '3 1.2 [1, null, "é"]'),
        ("{{ '%(a)s' % {'a': none} }}", "null"),
        ("{{ '{} {}'.format(x, flag) }}", "null true"),
        ("{{ '{a}'.format(a=x) }}", "null"),
        ("{{ '{:>4}'.format(7) }}", "   7"),
    ],
)
def test_text_of_a_value_is_what_a_template_prints(text: str, printed: str) -> None:
    """Everywhere, not Python's own: `None`, `True` and quotes of another kind."""
    names = template_names(x=None, flag=True, rows=[1, None, "é"])
    assert PromptTemplate(text, task="t").render(names) == printed


def test_text_of_a_value_in_for_each_is_the_same() -> None:
    assert RowsExpression("{{ [x ~ ''] }}", task="t").evaluate(template_names(x=None)) == ["null"]


def test_the_check_of_a_format_takes_no_longer_than_the_format_is_long() -> None:
    """C4: a seed of digits as a format held the worker: the time grew with the square of its length."""
    began = time.process_time()
    PromptTemplate("{{ item.text.format(1) }}", task="t").render({"item": {"text": "1" * 200_000}})
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("text", "costly"),
    [
        ("{{ seed.rows | sort(attribute='n') | map(attribute='a') | join }}", False),
        ("{% for row in seed.rows %}{{ row.a | upper }} {{ range(row.n) | join }}{% endfor %}", False),
        (
            "{% if seed.rows %}{% for r in seed.rows %}x{% endfor %}{% for r in seed.rows %}y{% endfor %}{% endif %}",
            False,
        ),
        ("{% macro line(r) %}{{ r.a.upper() }}{% endmacro %}{{ line(seed.rows[0]) }}", False),
        (
            "{% for a in seed.rows %}{% if a.n %}{% for b in seed.rows %}x{% endfor %}{% endif %}{% endfor %}",
            True,
        ),
        ("{% for a in seed.rows %}{{ seed.rows | selectattr('n', 'equalto', a.n) | list }}{% endfor %}", True),
        ("{% macro twice(n) %}{% if n %}{{ twice(n - 1) }}{{ twice(n - 1) }}{% endif %}{% endmacro %}x", True),
        ("{% for row in seed.rows recursive %}x{% endfor %}", True),
    ],
)
def test_a_template_that_goes_through_rows_for_each_row_is_costly(text: str, costly: bool) -> None:
    """It is rendered in a thread: two lists of ten thousand rows take a minute."""
    assert PromptTemplate(text, task="t").is_costly is costly
