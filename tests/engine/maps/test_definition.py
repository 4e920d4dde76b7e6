"""The hash of a map's definition: what of a task, its run and its owner is other work, and what is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.maps.definition import definition_hash
from tests.support.engine import inputs_of

ROWS = {"rows": [{"text": f"row {i}"} for i in range(8)], "words": "be kind"}
PROMPT = {"name": "m", "prompt": "Label: {{ item.text }}", "for_each": "{{ seed.rows }}"}


def definition(tmp: Path, task: Mapping[str, Any], data: Mapping[str, Any] = ROWS, **more: Any) -> str | None:
    """The hash of a map's definition, without a run."""
    inputs = inputs_of(tmp, [task], data, **more)
    return definition_hash(inputs, inputs.pipeline.task("m"))


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Sort: {{ item.text }}"},
        {"system": "You sort."},
        {"llm": {"model": "fake:other"}},
        {"llm": {"temperature": 0.7}},
        {"config": {"a": 1}},
        {"output": {"type": "string"}},
        {"output": {"type": "string"}, "output_type": "Answer = str"},
    ],
)
def test_another_definition_is_other_work(tmp_path: Path, change: dict[str, Any]) -> None:
    assert definition(tmp_path, {**PROMPT, **change}) != definition(tmp_path, PROMPT)


def test_other_validators_are_other_work(tmp_path: Path) -> None:
    """A3: an outcome that they never judged is not taken over."""
    schema = {"output": {"type": "string"}}
    one, other = ({**PROMPT, **schema, "output_type": f"Answer = {kind}"} for kind in ("str", "int"))
    assert len({definition(tmp_path, task) for task in (one, other, {**PROMPT, **schema})}) == 3


@pytest.mark.parametrize("more", [{"options": {"model": "fake:other"}}, {"owner": "you"}])
def test_another_model_of_the_run_or_another_owner_is_other_work(tmp_path: Path, more: dict[str, Any]) -> None:
    assert definition(tmp_path, PROMPT, **more) != definition(tmp_path, PROMPT)


def test_what_only_says_how_to_run_it_changes_nothing(tmp_path: Path) -> None:
    task = {**PROMPT, "max_concurrency": 2, "retry": {"max_attempts": 1}, "description": "x"}
    assert definition(tmp_path, task) == definition(tmp_path, PROMPT)


def test_a_service_tier_makes_no_other_answer(tmp_path: Path) -> None:
    """P3: rows that were paid for on one tier are used on another; of judges and cascades too."""
    for tier in ({"service_tier": "flex"}, {"service_tier": "priority"}):
        assert definition(tmp_path, {**PROMPT, "llm": tier}) == definition(tmp_path, PROMPT)
        steps = [{"model": "fake:echo"}, {"model": "fake:big"}]
        tiered = [{**step, **tier} for step in steps]
        assert definition(tmp_path, {**PROMPT, "llm": tiered}) == definition(tmp_path, {**PROMPT, "llm": steps})


def test_a_critique_counts_what_of_the_seed_it_can_show(tmp_path: Path) -> None:
    """It is rendered only once there is an answer; what another task or this run makes is not known before."""
    other = {**ROWS, "words": "be strict"}
    blind, seeing = (
        {**PROMPT, "refine": {"max_attempts": 1, "critique": text}} for text in ("Why?", "{{ seed.words }}?")
    )
    assert definition(tmp_path, blind) == definition(tmp_path, blind, other)
    assert definition(tmp_path, seeing) != definition(tmp_path, seeing, other)
    assert definition(tmp_path, {**PROMPT, "refine": {"max_attempts": 1, "critique": "{{ run.id }}"}}) is None


def test_other_code_is_other_work(tmp_path: Path) -> None:
    one, two = (
        {"name": "m", "source": f"def inference(ctx):\n    return {n}\n", "for_each": "{{ seed.rows }}"}
        for n in (1, 2)
    )
    assert definition(tmp_path, one) != definition(tmp_path, two)
