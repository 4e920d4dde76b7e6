"""Rendering a request again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import TemplateFailed
from po_jupyter.orchestrator.examination.rendering import CallToRender, render


def call_of(task: dict[str, Any], **more: Any) -> CallToRender:
    base: Any = {
        "task": task, "outputs": {}, "index": None, "item": None, "attempt": 1, "run": "0" * 22, "seed_name": "s",
        "owner": "me", "options": {}, "hash": "", "answers": [],
    }  # fmt: skip
    return {**base, **more}


def rendered(tmp_path: Path, task: dict[str, Any], data: Any = None, **more: Any) -> dict[str, Any]:
    definition = {"name": "p", "llm": {"model": "fake:echo"}, "tasks": [{"name": "first", "prompt": "x"}, task]}
    return render(definition, data or {}, call_of(task, **more), Settings(data_dir=tmp_path))


def test_names_are_those_of_the_run(tmp_path: Path) -> None:
    task = {
        "name": "t",
        "prompt": "{{ seed.a }} {{ tasks.first }} {{ run.attempt }} {{ seed_name }} {{ config.c }}",
        "config": {"c": 5},
    }
    answer = rendered(tmp_path, task, {"a": 1}, outputs={"first": "f"}, attempt=3)
    assert answer["messages"] == [{"role": "user", "content": "1 f 3 s 5"}]
    assert not answer["exact"]


def test_a_prompt_that_cannot_be_rendered_says_why(tmp_path: Path) -> None:
    with pytest.raises(TemplateFailed):
        rendered(tmp_path, {"name": "t", "prompt": "{{ seed.missing }}"})


def test_a_question_to_any_model_of_a_cascade_is_known_again(tmp_path: Path) -> None:
    from po_jupyter.llm.chat import ChatRequest, Message

    task = {
        "name": "t",
        "prompt": "x",
        "llm": ["fake:small", {"model": "fake:big", "max_tokens": 9, "when": "{{ 1 }}"}],
    }
    big = ChatRequest("fake:big", (Message("user", "x"),), max_tokens=9)
    assert rendered(tmp_path, task, hash=big.request_hash)["exact"]
    assert not rendered(tmp_path, task, hash="another")["exact"]


def test_a_text_of_which_a_vector_was_made_is_known_again(tmp_path: Path) -> None:
    from po_jupyter.llm.chat import ChatRequest, Message

    task = {"name": "t", "for_each": "{{ seed.rows }}", "embed": "{{ item }}!"}
    sent = ChatRequest("fake:echo", (Message("user", "b!"),), embed=True)
    answer = rendered(tmp_path, task, {"rows": ["a", "b"]}, index=1, hash=sent.request_hash)
    assert answer == {"messages": [{"role": "user", "content": "b!"}], "exact": True}
