"""C3: what a template makes is counted while it is made; what people write is rendered as before."""

# ruff: noqa: E501 - one template is one line of the table

from __future__ import annotations

import os
import resource
import time
from typing import Any

import pytest

from po_jupyter.engine.prompts.template_check import check_templates
from po_jupyter.engine.prompts.templates import PromptTemplate, RowsExpression, template_names
from po_jupyter.errors import TemplateFailed
from po_jupyter.model.pipeline.parsing import validate_pipeline

pytestmark = pytest.mark.integration  # templates that make very much: it takes seconds

NAMES = template_names(
    seed={
        "text": "a" * 1_000_000,
        "rows": [{"text": "hello", "n": i} for i in range(200)],
        "words": "ab " * 300_000,
    },
    tasks={},
    config={},
    run={},
)
NS = "{% set ns = namespace(x=['a'], s='a', n=10) %}"
MANY, SOME, END = "{% for i in range(100000) %}", "{% for i in range(60) %}", "{% endfor %}"

TOO_LARGE = [
    "{{ '{:>{w}}'.format(1,w=999999999)|length }}",
    "{{ '{x:{w}}'.format_map({'x':1,'w':10**9}) }}",
    "{{ '{:.999999999f}'.format(1.0) }}",
    "{{ ('{0:>999999}'*100000).format(1)|length }}",
    "{{ 'a'*10**9 }}",
    "{{ [0]*10**9 }}",
    "{{ range(10**9)|list }}",
    "{{ 'a'|center(10**9) }}",
    "{{ 'a'.ljust(10**10) }}",
    "{{ '1'.zfill(10**9) }}",
    "{{ ('\t'*1000000).expandtabs(100000) }}",
    "{{ 'a\nb'|indent(10**9) }}",
    "{{ ('\n'*1000000)|indent('x'*1000) }}",
    "{{ ('a'*1000000)|replace('a','b'*1000000) }}",
    "{{ ('a'*1000000).replace('','b'*1000000) }}",
    "{{ '%999999999d'|format(1) }}",
    "{{ '%*d'|format(999999999,1) }}",
    "{{ '%.*f' % (999999999,1) }}",
    "{{ ('%999999d'*1000) % (1,) }}",
    "{{ 10**100000 }}",
    "{{ 10|round(-1000000000) }}",
    "{{ 10|round(1000000000,'floor') }}",
    "{{ ('f'*1000000)|int(base=16) }}",
    "{{ (1).to_bytes(10**9,'big') }}",
    "{{ seed.text.translate({97: 'b'*1000000}) }}",
    "{{ seed.text.encode('utf-16') }}",
    "{{ lipsum(n=100000) }}",
    "{{ ('a '*500000)|wordwrap(1, wrapstring='x'*1000000) }}",
    "{{ ('a.b '*200000)|urlize(target='x'*1000000) }}",
    "{{ [1]|batch(10**9, 1)|list }}",
    "{{ [1]|slice(10**9)|list }}",
    "{{ ([seed.rows]*100000)|sum(start=[])|length }}",
    "{{ [seed.text]*100000 }}",
    "{{ ([seed.text]*100000)|join }}",
    "{{ seed.text.join(seed.rows|map(attribute='text')) }}",
    "{% macro a(x) %}{{ x }}{{ x }}{% endmacro %}" + "{{ " + "a(" * 40 + "'aaaaaaaaaa'" + ")" * 40 + " }}",
    "{% macro a(x) %}{{ a(x ~ x) }}{% endmacro %}{{ a('a') }}",
    "{% set x = 'aaaaaaaaaa' %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 40 + "{{ x }}",
    "{% macro m() %}{{ varargs }}{% endmacro %}{{ m(*([seed.text]*100000)) }}",
    "{% filter center(10**9) %}x{% endfilter %}",
    f"{MANY}{{{{ seed.text }}}}{END}",
    f"{NS}{MANY}{{% set ns.s = ns.s ~ ns.s %}}{END}",
    f"{NS}{MANY}{{% set ns.s = ns.s + ns.s %}}{END}",
    f"{NS}{MANY}{{% set ns.x = ns.x + ns.x %}}{END}",
    f"{NS}{MANY}{{% set ns.n = ns.n * ns.n %}}{END}",
]  # fmt: skip
# Small in memory, endless as text: a list that holds another twice, which holds another twice.
ENDLESS = [
    f"{NS}{SOME}{{% set ns.x = {twice} %}}{END}{{{{ {printed} }}}}"
    for twice, printed in [
        ("[ns.x, ns.x]", "ns.x"),
        ("{'a': ns.x, 'b': ns.x}", "ns.x|tojson"),
        ("dict(a=ns.x, b=ns.x)", "ns.x ~ ''"),
        ("(ns.x, ns.x)", "'%r'|format(ns.x)"),
        ("[ns.x]*2", "'{!r}'.format(ns.x)"),
        ("[ns.x, ns.x]", "[ns.x]|join"),
        ("[ns.x, ns.x]", "ns.x|pprint"),
    ]
]


@pytest.mark.parametrize("text", TOO_LARGE, ids=range(len(TOO_LARGE)))
def test_nothing_is_made_that_is_too_large(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(TemplateFailed):
        PromptTemplate(text, task="t").render(NAMES)
    assert time.process_time() - begun < 10  # made whole, each of them takes minutes or all the memory


@pytest.mark.integration
@pytest.mark.parametrize("text", ENDLESS, ids=range(len(ENDLESS)))
def test_a_list_that_holds_itself_many_times_is_not_printed(text: str) -> None:
    with pytest.raises(TemplateFailed, match="a text of more than"):
        PromptTemplate(text, task="t").render(NAMES)


HELD = [
    f"{NS}{MANY}{{% set ns.x = [ns.x, seed.text|upper] %}}{END}",
    f"{NS}{MANY}{{% set ns.x = [ns.x, seed.text[1:]] %}}{END}",
    f"{NS}{MANY}{{% set ns.x = [ns.x, seed.words.split()] %}}{END}",
    f"{NS}{MANY}{{% set ns.x = [ns.x, range(100000)|batch(2)|list] %}}{END}",
    f"{NS}{MANY}{{% block b scoped %}}{{% set ns.x = [ns.x, seed.text.title()] %}}{{% endblock %}}{END}",
    f"{NS}{MANY}{{% set ns.x = [ns.x, '%s!' % seed.text] %}}{END}",
]


@pytest.mark.integration
@pytest.mark.parametrize("text", HELD, ids=range(len(HELD)))
def test_what_is_held_together_is_bounded(text: str) -> None:
    """Each text is small enough, and all of them would fill the memory: a worker that renders one stays bounded."""
    child = os.fork()
    if child == 0:
        status, before = 3, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            PromptTemplate(text, task="t").render(NAMES)
        except TemplateFailed:
            megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
            status = 0 if megabytes < 700 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    "text",
    [
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{{ " + "[" * 3000 + "1" + "]" * 3000 + " }}",
        "{{ seed" + ".a" * 20_000 + " }}",
        "{{ " + "1+" * 20_000 + "1 }}",
        "{{ 'a'" + "|upper" * 20_000 + " }}",
        "{% if 1 %}" * 2000 + "{% endif %}" * 2000,
        "{% for a in [1] %}" * 30 + "{% endfor %}" * 30,
    ],
    ids=["brackets", "lists", "dots", "sums", "filters", "ifs", "loops"],
)
def test_a_template_that_is_nested_too_deeply_is_said_to_be(text: str) -> None:
    """Jinja's recursion, and the limits of Python's compiler, are no crash of who checks it."""
    with pytest.raises(TemplateFailed, match=r"nested too deeply|does not parse"):
        PromptTemplate(text, task="t")
    pipeline = validate_pipeline({"name": "p", "tasks": [{"name": "a", "prompt": text}]})
    assert check_templates(pipeline, {"a": 1})


def test_an_expression_that_is_nested_too_deeply_is_said_to_be() -> None:
    with pytest.raises(TemplateFailed, match="nested too deeply"):
        RowsExpression("[" * 3000 + "1" + "]" * 3000, task="t")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{{ 'a'|center(7) }}|{{ 'b'.ljust(3) }}|{{ 7|string }}", "   a   |b  |7"),
        ("{{ 'x y z'.split() | join('-') }}", "x-y-z"),
        ("{{ 'a\tb'.expandtabs(4) }}", "a   b"),
        ("{{ ' Ab '.strip().lower().title() }}", "Ab"),
        ("{{ [3, 1, 2]|sort }}{{ [1, 1]|unique|list }}{{ {'b': 1, 'a': 2}|dictsort }}", '[1, 2, 3][1][["a", 2], ["b", 1]]'),
        ("{% for g in [{'a': 1, 'b': 2}]|groupby('a') %}{{ g.grouper }}{{ g.list }}{% endfor %}", '1[{"a": 1, "b": 2}]'),
        ("{{ range(5)|batch(2, 'x')|list }}{{ range(3)|slice(2)|list }}", '[[0, 1], [2, 3], [4, "x"]][[0, 1], [2]]'),
        ("{{ [1, 2]|sum }}{{ [{'n': 2}]|sum(attribute='n') }}{{ [[1], [2]]|sum(start=[]) }}", "32[1, 2]"),
        ("{{ 'a b'|wordcount }}{{ 'abc'|truncate(2, True, '.', 0) }}{{ '<b>'|e }}{{ '<i>x</i>'|striptags }}", "2a.&lt;b&gt;x"),
        ("{{ 'one two'|wordwrap(3) }}|{{ 'a\nb'|indent(2) }}", "one\ntwo|a\n  b"),
        ("{{ '%05.1f|%s|%-4d|%%' % (1.25, 'a', 3) }}", "001.2|a|3   |%"),
        ("{{ '{:>5}|{n:,}|{m!r}'.format('a', n=1234, m='a') }}", "    a|1,234|'a'"),
        ("{{ 2 ** 10 }}{{ 10 ** 20 }}{{ 7 % 4 }}{{ 'ab' * 2 }}{{ [1] + [2] }}", "10241000000000000000000003abab[1, 2]"),
        ("{{ 1.25|round(1) }}{{ '12'|int + 1 }}{{ 5|tojson }}{{ [1]|tojson(2) }}", "1.2135[\n  1\n]"),
        ("{% macro m(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call m('b') %}c{% endcall %}", "<bc>"),
        ("{% set ns = namespace(t='') %}{% for i in range(3) %}{% set ns.t = ns.t ~ i %}{% endfor %}{{ ns.t }}", "012"),
        ("{% set x %}a{{ 1 }}{% endset %}{{ x }}{% filter upper %}b{% endfilter %}", "a1B"),
        ("{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}", "aba"),
        ("{% for x in [1, [2, [3]]] recursive %}{% if x is number %}{{ x }}{% else %}{{ loop(x) }}{% endif %}{% endfor %}", "123"),
        ("{% for x in 'abc' %}{{ loop.index }}{{ loop.cycle('o', 'e') }}{{ loop.last }} {% endfor %}", "1ofalse 2efalse 3otrue "),
        ("{{ 'abcdef'[1:4] }}{{ [1, 2, 3][::-1] }}", "bcd[3, 2, 1]"),
        ("{{ {'a': 1}.get('a') }}{{ {'a': 1}.items()|list }}{{ [1, 2].index(2) }}", '1[["a", 1]]1'),
    ],
)  # fmt: skip
def test_what_people_write_is_rendered(text: str, printed: str) -> None:
    assert PromptTemplate(text, task="t").render(NAMES) == printed


def test_much_of_it_is_fine_as_long_as_it_is_not_held() -> None:
    """A long text that is put together piece by piece, and many lists that nobody keeps."""
    text = (
        NS
        + "{% for i in range(3000) %}{% set ns.s = ns.s ~ 'one more line of text\n' %}{% endfor %}{{ ns.s|length }}"
    )
    assert PromptTemplate(text, task="t").render(NAMES) == str(1 + 3000 * 22)
    text = MANY + "{% if (seed.rows|map(attribute='n')|list)[0] == 1 %}x{% endif %}" + END
    names: dict[str, Any] = {**NAMES, "range": lambda n: range(2000)}
    assert PromptTemplate(text, task="t").render(names) == ""
