"""P11: what is wrong with a pipeline's templates is known before a run, with its place."""

from __future__ import annotations

import time
from typing import Any

import pytest

from po_jupyter.engine.prompts.template_check import check_templates
from po_jupyter.model.pipeline.parsing import validate_pipeline


def violations(task: dict[str, Any], seed: dict[str, Any] | None = None) -> list[str]:
    before = {"name": "before", "prompt": "x"}
    pipeline = validate_pipeline(
        {"name": "p", "tasks": [before, {"name": "t", **task}, {"name": "af-ter", "prompt": "x"}]}
    )
    return [f"{v.where}:{v.line}: {v.message}" for v in check_templates(pipeline, seed)]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"prompt": "{{ sed.x }}"}, "`sed` is not defined; did you mean `seed`?"),
        ({"prompt": "{{ text }}"}, "did you mean `seed.text`?"),
        ({"prompt": "{{ before }}"}, "the output of that task is tasks.before"),
        ({"prompt": "{{ seed.txt }}"}, "has no `txt` (it has text, rows, a-b); did you mean `text`?"),
        ({"prompt": "{{ seed['txt'] }}"}, "has no `txt`"),
        ({"prompt": "{{ tasks.befor }}"}, "`tasks.befor` is not a task; did you mean `before`?"),
        (
            {"prompt": "{{ tasks['af-ter'] }}"},
            'tasks["af-ter"]` is not finished before this task; add it to `needs`',
        ),
        ({"prompt": "{{ tasks.t }}"}, "this very task"),
        ({"prompt": "{{ tasks.af-ter }}"}, 'a name with a hyphen is written tasks["af-ter"]'),
        ({"prompt": "{{ tasks.af-ter.x }}"}, 'a name with a hyphen is written tasks["af-ter"]'),
        ({"prompt": "{{ seed.a-b }}"}, 'a name with a hyphen is written seed["a-b"]'),
        ({"prompt": "{{ item }}"}, "it exists in a task with `for_each`"),
        ({"prompt": "{{ output }}"}, "`output` is not defined"),
        ({"prompt": "{{ x | nofilter }}"}, "No filter named 'nofilter'"),
        ({"prompt": "{{ x is notest }}"}, "No test named 'notest'"),
        ({"prompt": "a\nb {{ seed.text"}, "tasks[1].prompt:2: task 't': the prompt does not parse"),
        ({"prompt": "x", "system": "{{ nope }}"}, "tasks[1].system:1: task 't': system: `nope` is not defined"),
        ({"prompt": "x", "refine": {"critique": "{{ nope }}"}}, "tasks[1].refine.critique:1:"),
        ({"prompt": "x", "for_each": "{{ item }}"}, "tasks[1].for_each:1:"),
        ({"prompt": "x", "for_each": "a {{ seed.rows }}"}, "for_each is one expression"),
        ({"prompt": "x", "for_each": "seed.rwos"}, "did you mean `rows`?"),
    ],
)
def test_what_is_known_before_a_run(task: dict[str, Any], message: str) -> None:
    """P11: clear, with its place."""
    seed = {"text": "x", "rows": [], "a-b": 1}
    messages = violations(task, seed)
    assert len(messages) == 1
    assert message in messages[0]


@pytest.mark.parametrize("prompt", ['Answer with {{"a": 1}}', 'Like {{ "a": {"b": 1} }}', "{% x %}", "{# x"])
def test_braces_that_were_meant_as_text_are_told_how(prompt: str) -> None:
    (message,) = violations({"prompt": prompt})
    assert "{% raw %}" in message
    assert "{% raw %}" not in violations({"prompt": "{{ x | nofilter }}"})[0]


@pytest.mark.parametrize(
    "text",
    [
        "{{ seed.text }} {{ tasks.before }} {{ seed_name }} {{ config.x }} {{ run.id }}",
        "{% if seed.more %}{{ seed.more }}{% endif %}",
        "{{ seed.more | default('') }} {{ seed.more is defined }}",
        "{{ seed.more if seed.more is defined else 1 }}",
        "{% if seed.a is defined and seed.a.b %}x{% endif %}",
        "{{ seed.get('more') }} {{ seed.items() }} {{ tasks.items() }}",
        "{% for seed in seed.rows %}{{ seed.anything }}{% endfor %}",
        "{% set x = 1 %}{{ x }} {% for r in seed.rows %}{{ r.q }}{{ loop.index }}{% endfor %}",
        "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1) }}",
        "{% raw %}{{ nope }}{% endraw %} {# {{ nope }} #}",
        "{{ range(3) }} {{ dict(a=1) }} {{ namespace(x=1).x }}",
    ],
)
def test_what_is_right_is_left_alone(text: str) -> None:
    assert violations({"prompt": text}, {"text": "x", "rows": []}) == []


def test_without_a_seed_its_keys_are_not_looked_at() -> None:
    assert violations({"prompt": "{{ seed.whatever }}"}) == []
    assert violations({"prompt": "{{ item.x }} {{ index }}", "for_each": "seed.rows"}) == []
    assert (
        violations({"prompt": "x", "refine": {"critique": "{{ output }} {{ violations }} {{ seed.x }}"}}) == []
    )


SEED = {
    "rows": [{"txt": "a", "meta": {"lang": "de"}, "tags": [{"n": 1}]}, {"txt": "b", "extra": 1}],
    "texts": ["a"],
    "numbers": [1],
    "file": {"$rows": "a" * 64, "count": 9, "columns": ["txt", "id"]},
    "ticket": {"title": "x"},
    "empty": [],
}


@pytest.mark.parametrize(
    ("for_each", "prompt", "message"),
    [
        ("seed.rows", "{{ item.text }}", "no `text` (they have txt, meta, tags, extra); did you mean `txt`?"),
        ("seed.rows", "{{ item['text'] }}", "did you mean `txt`?"),
        ("seed.rows[:5]", "{{ item.text }}", "did you mean `txt`?"),
        ("seed.rows | selectattr('txt') | list", "{{ item.text }}", "did you mean `txt`?"),
        ("seed.rows | map(attribute='meta') | list", "{{ item.lng }}", "did you mean `lang`?"),
        ("seed.file", "{{ item.text }}", "the rows have no `text` (they have txt, id); did you mean `txt`?"),
        ("seed.rows", "{{ item.meta.lng }}", "`item.meta.lng`: there is no `lng` (it has lang); did you mean"),
        (
            "seed.rows",
            "{% for tag in item.tags %}{{ tag.m }}{% endfor %}",
            "`tag.m`: there is no `m` (it has n)",
        ),
        ("seed.texts", "{{ item.text }}", "`item.text`: the rows are text, without names"),
        ("seed.numbers", "{{ item.text }}", "`item.text`: the rows are numbers, without names"),
        ("tasks.labels", "{{ item.text }}", "the rows have no `text` (they have index, ok, output, error)"),
        (None, "{% for row in seed.rows %}{{ row.text }}{% endfor %}", "`row.text`: there is no `text`"),
        (None, "{% for r in seed.rows if r.text %}{{ r.txt }}{% endfor %}", "`r.text`: there is no `text`"),
        (None, "{{ seed.rows[0].text }}", "`seed.rows[0].text`: there is no `text`"),
        (None, "{{ (seed.rows | first).text }}", "did you mean `txt`?"),
        (None, "{{ seed.rows.text }}", "`seed.rows` is a list"),
        (None, "{{ seed.ticket.titel }}", "did you mean `title`?"),
        (
            None,
            "{{ seed.rows | map(attribute='text') | join(', ') }}",
            "map of `text`: the rows have no `text`",
        ),
        (None, "{{ seed.rows | sort(attribute='text') | length }}", "sort of `text`"),
        (None, "{{ tasks.labels.output }}", "`tasks.labels` is a list"),
        (None, "{{ tasks.before.title_ }}", "`tasks.before` is text"),
    ],
)
def test_names_of_rows_are_checked_against_the_first_rows(
    for_each: str | None, prompt: str, message: str
) -> None:
    """`{{ item.text }}` where the rows have `txt` was a run of which every row failed."""
    messages = row_violations(for_each, prompt)
    assert len(messages) == 1
    assert message in messages[0]


@pytest.mark.parametrize(
    ("for_each", "prompt"),
    [
        ("seed.rows", "{{ item.txt }} {{ item.extra }} {{ item.meta.lang }} {{ item['txt'] }} {{ index }}"),
        (
            "seed.rows",
            "{{ item.text | default('') }} {{ item.get('text') }} {% for k in item.keys() %}x{% endfor %}",
        ),
        ("seed.rows", "{% if item.text is defined %}{{ item.text }}{% endif %}"),
        ("seed.texts", "{{ item.upper() }} {{ item.split(',')[0] }}"),
        ("seed.empty", "{{ item.text }}"),
        ("seed.texts | map('upper') | list", "{{ item.text }}"),
        ("seed.rows | groupby('txt')", "{{ item.grouper }}"),
        ("tasks.labels", "{{ item.output.anything }} {{ item.index }}"),
        ("tasks.labels | map(attribute='output') | list", "{{ item.anything }}"),
        (None, "{% for r in seed.rows %}{% set r = r.meta %}{{ r.lang }}{% endfor %}"),
        (None, "{% for key, value in seed.ticket.items() %}{{ key.x }}{{ value.y }}{% endfor %}"),
        (None, "{% for r in seed.rows if r.extra is defined %}{{ r.extra }}{{ r.more }}{% endfor %}"),
        (None, "{{ seed.rows | map(attribute='text', default='') | join }}"),
        (None, "{{ seed.rows | selectattr('ok', 'defined') | list }}"),
        (None, "{% for r in seed.rows %}{{ loop.index }}{% else %}{{ seed_name }}{% endfor %}"),
        (None, "{{ tasks.before.title() }} {{ tasks.labels | length }}"),
    ],
)
def test_names_that_rows_may_have_are_left_alone(for_each: str | None, prompt: str) -> None:
    assert row_violations(for_each, prompt) == []


def row_violations(for_each: str | None, prompt: str) -> list[str]:
    tasks = [
        {"name": "before", "prompt": "x"},
        {"name": "labels", "prompt": "{{ item.txt }}", "for_each": "seed.rows"},
        {"name": "t", "prompt": prompt, "for_each": for_each},
    ]
    found = check_templates(validate_pipeline({"name": "p", "tasks": tasks}), SEED)
    assert all(v.where == "tasks[2].prompt" and v.line == 1 for v in found)
    return [v.message for v in found]


@pytest.mark.integration
def test_a_thousand_tasks_are_checked_in_a_second() -> None:
    tasks = [
        {"name": f"t{i}", "prompt": f"{{{{ tasks.t{max(0, i - 1)} }}}} {{{{ seed.x }}}}"}
        for i in range(1, 1000)
    ]
    pipeline = validate_pipeline({"name": "p", "tasks": [{"name": "t0", "prompt": "x"}, *tasks]})
    begun = time.process_time()
    assert check_templates(pipeline, {"x": 1}) == []
    assert time.process_time() - begun < 4


def test_what_a_table_of_pandas_leads_to_is_told() -> None:
    rows = {"rows": [None, "text"], "table": [{"Ticket ID": 1, "gold": None}]}
    (one,) = violations({"for_each": "{{ seed.rows }}", "prompt": "{{ item.text }}"}, rows)
    assert "the rows are text, without names: `item` is the row" in one
    (one,) = violations({"for_each": "{{ seed.table }}", "prompt": "{{ item.Ticket ID }}"}, rows)
    assert 'written item["Ticket ID"]' in one
    (one,) = violations({"for_each": "{{ seed.table }}", "prompt": "{{ gold }}"}, rows)
    assert "`gold` is not defined; did you mean `item.gold`?" in one
