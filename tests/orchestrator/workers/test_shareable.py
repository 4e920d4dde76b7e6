"""Which runs may share a process: prompts alone, of models that our own code asks."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.llm import specs
from po_jupyter.llm.specs import Plugin, Spec
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.orchestrator.workers import shareable
from po_jupyter.orchestrator.workers.shareable import is_shareable

PROMPT = {"name": "a", "prompt": "hello"}
SETTINGS = Settings(default_model="fake:echo", cli_agents=True, shared_worker=True)


def definition(*tasks: dict[str, Any], **more: Any) -> RunDefinition:
    pipeline = {"name": "p", "tasks": list(tasks), **more.pop("pipeline", {})}
    return RunDefinition.from_json(
        {"pipeline": pipeline, "seed": {"name": "s", "data": more.pop("data", {})}, **more}
    )


def test_prompts_alone_are() -> None:
    image = {"name": "b", "prompt": "look", "images": ["{{ seed.url }}"], "output": {"type": "object"}}
    rows = {"name": "c", "prompt": "{{ item }}", "for_each": "{{ seed.rows }}", "mode": "batch"}
    vectors = {"name": "v", "embed": "{{ item }}", "for_each": "{{ seed.rows }}"}
    assert is_shareable(definition(vectors, data={"rows": [1, 2]}), SETTINGS)
    assert is_shareable(definition(PROMPT, image, rows, data={"rows": [1, 2]}, cwd="/somewhere"), SETTINGS)
    assert is_shareable(definition(PROMPT, pipeline={"llm": {"model": "openai:gpt-5-mini"}}), SETTINGS)


@pytest.mark.parametrize(
    "task",
    [
        {"name": "a"},
        {"name": "a", "source": "def ingestion(ctx): ..."},
        {**PROMPT, "output": {}, "output_type": "class Answer: ..."},
        {**PROMPT, "tools": ["server.tool"]},
        {**PROMPT, "llm": {"model": "claude-cli:sonnet"}},
        {**PROMPT, "llm": {"model": "nobody:x"}},
        {"name": "v", "embed": "{{ item }}", "for_each": "{{ [1] }}", "distinct": {"similarity": 0.9}},
    ],
)
def test_code_of_a_persons_own_and_programs_that_may_run_some_are_not(task: dict[str, Any]) -> None:
    assert not is_shareable(definition(PROMPT, task), SETTINGS)


def test_a_run_with_an_interpreter_or_variables_of_its_own_is_not() -> None:
    assert not is_shareable(definition(PROMPT, interpreter="/usr/bin/python3"), SETTINGS)
    assert not is_shareable(definition(PROMPT, env={"A": "b"}), SETTINGS)


def test_the_model_of_the_run_counts_instead_of_those_of_its_tasks() -> None:
    agent = {**PROMPT, "llm": {"model": "claude-cli:sonnet"}}
    assert is_shareable(definition(agent, options={"model": "fake:echo"}), SETTINGS)
    assert not is_shareable(definition(PROMPT, options={"model": "codex-cli:x"}), SETTINGS)


def test_a_provider_of_another_package_is_not_our_code(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = Spec("theirs", Plugin(None))  # type: ignore[arg-type]
    monkeypatch.setattr(shareable, "specs", lambda: {**specs.specs(), "theirs": plugin})
    assert not is_shareable(definition({**PROMPT, "llm": {"model": "theirs:x"}}), SETTINGS)


def test_many_rows_are_not_where_there_is_a_map() -> None:
    rows = {"name": "c", "prompt": "{{ item }}", "for_each": "{{ seed.rows }}"}
    many = {"rows": list(range(1001))}
    file = {"rows": {"$rows": "a" * 64, "count": 1001, "columns": []}}
    assert is_shareable(definition(PROMPT, data=many), SETTINGS)
    assert not is_shareable(definition(rows, data=many), SETTINGS)
    assert not is_shareable(definition(rows, data=file), SETTINGS)
    assert not is_shareable(definition(rows, data={"rows": {"$rows": "?"}}), SETTINGS)


def test_it_can_be_switched_off() -> None:
    assert not is_shareable(definition(PROMPT), Settings(default_model="fake:echo", shared_worker=False))


def test_a_child_run_of_a_large_one_is_not() -> None:
    """It reads the whole seed, and the log of the whole."""
    rows = {"name": "c", "prompt": "{{ item }}", "for_each": "{{ seed.rows }}"}
    parent = {"run": "0a", "task": "c", "shard": 1, "rows": "0-9", "attempt": 1, "number": 1}
    assert is_shareable(definition(rows, parent=parent), SETTINGS)
    assert is_shareable(definition(rows, parent={**parent, "of": 1000}), SETTINGS)
    assert not is_shareable(definition(rows, parent={**parent, "of": 1001}), SETTINGS)
