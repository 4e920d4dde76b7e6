"""The seed of a task's pipeline: expressions give their value, texts are rendered, and all of it is JSON."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.engine.prompts.seed_values import evaluate_seed, seed_templates
from po_jupyter.engine.prompts.templates import template_names
from po_jupyter.errors import TemplateFailed

NAMES = template_names(seed={"n": 4, "rows": [{"k": 1}, {"k": 2}], "who": "Ann"}, tasks={"a": {"ok": True}})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{{ seed.n }}", 4),
        (" {{ seed.rows }} ", [{"k": 1}, {"k": 2}]),
        ("{{ seed.rows | map(attribute='k') }}", [1, 2]),
        ("{{ tasks.a }}", {"ok": True}),
        ("n is {{ seed.n }}", "n is 4"),
        ("{{ seed.n }}{{ seed.n }}", "44"),
        ("{{ '}}' }}", "}}"),
        ("plain", "plain"),
        (["{{ seed.n }}", 2, None], [4, 2, None]),
        ({"deep": {"x": "{{ seed.who }}"}}, {"deep": {"x": "Ann"}}),
        (1.5, 1.5),
    ],
)
def test_values(value: Any, expected: Any) -> None:
    assert evaluate_seed({"v": value}, NAMES, task="t") == {"v": expected}


@pytest.mark.parametrize(
    "value", ["{{ seed.nothing }}", "x {{ seed.nothing }}", "{{ seed.n.", "{{ seed.n / 0 }}"]
)
def test_what_cannot_be_made_is_one_error(value: str) -> None:
    with pytest.raises(TemplateFailed, match="task 't'"):
        evaluate_seed({"v": value}, NAMES, task="t")


def test_data_is_never_a_template() -> None:
    """P6."""
    names = template_names(seed={"x": "{{ 1 + 1 }}"})
    assert evaluate_seed({"v": "{{ seed.x }}"}, names, task="t") == {"v": "{{ 1 + 1 }}"}


def test_its_templates_are_found_with_their_place() -> None:
    assert list(seed_templates({"a": "x", "b": [{"c": "y"}, 3]})) == [(".a", "x"), (".b[0].c", "y")]
