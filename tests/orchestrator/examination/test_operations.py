"""Examinations, done here: definitions as pipelines, mistakes with their places, estimates with another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput, InvalidPipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.orchestrator.examination.operations import as_json, examine_here, run_budget

DEFINITION = {
    "name": "p", "budget": {"tokens": 1000, "usd": 1.0},
    "tasks": [{"name": "a", "prompt": "Hi {{ seed.text }}", "llm": "fake:echo"}],
}  # fmt: skip


def test_text_and_json_are_the_same_pipeline() -> None:
    text = (
        "tasks: [{name: a, prompt: 'Hi {{ seed.text }}', llm: 'fake:echo'}]\nbudget: {tokens: 1000, usd: 1.0}\n"
    )
    of_text = examine_here({"what": "parse", "definition": text, "name": "p"})
    of_json = examine_here({"what": "parse", "definition": DEFINITION})
    assert as_json(of_text) == as_json(of_json)
    assert examine_here({"what": "parse", "definition": as_json(of_json), "recorded": True}) == of_json


def test_a_mistake_has_its_place() -> None:
    with pytest.raises(InvalidPipeline) as caught:
        examine_here({"what": "parse", "definition": "name: p\ntasks:\n  - name: a\n    promt: x\n"})
    assert [v.line for v in caught.value.violations][:1] == [4]


def test_names_are_checked_against_a_seed_where_there_is_one() -> None:
    assert examine_here({"what": "check", "definition": DEFINITION, "data": None})
    assert examine_here({"what": "check", "definition": DEFINITION, "data": {"text": "x"}})
    with pytest.raises(InvalidInput, match="txt"):
        examine_here({"what": "check", "definition": DEFINITION, "data": {"txt": "x"}})


def test_the_model_in_the_place_of_all_is_the_one_that_is_checked() -> None:
    definition = {**DEFINITION, "budget": {"usd": 1.0}}
    with pytest.raises(InvalidInput, match="gpt"):
        examine_here({"what": "check", "definition": definition, "data": None, "model": "openai:gpt5-minni"})


def test_a_budget_of_the_run_is_over_that_of_the_definition() -> None:
    pipeline = examine_here({"what": "parse", "definition": DEFINITION})
    assert isinstance(pipeline, Pipeline)
    budget = run_budget(pipeline, {"tokens": 5})
    assert (budget.tokens, budget.usd) == (5, 1.0)
    assert (run_budget(pipeline, {}).tokens, run_budget(pipeline, {}).usd) == (1000, 1.0)


@pytest.mark.parametrize(("limit", "calls"), [(None, 3), (2, 2)])
def test_an_estimate_counts_the_calls(tmp_path: Path, limit: int | None, calls: int) -> None:
    task: dict[str, Any] = {
        "name": "a",
        "for_each": "{{ seed.rows }}",
        "prompt": "{{ item }}",
        "llm": "fake:echo",
    }
    estimate = examine_here(
        {
            "what": "estimate", "definition": {"name": "p", "tasks": [task]}, "owner": "me", "limit": limit,
            "seed": {"name": "s", "data": {"rows": [1, 2, 3]}},
        },
        Settings(data_dir=tmp_path),
    )  # fmt: skip
    assert as_json(estimate)["calls"] == calls
