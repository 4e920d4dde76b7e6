"""How much fits one prompt."""

from __future__ import annotations

from po_jupyter.engine.maps.prompt_room import fits_in, prompt_room
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.model.pipeline.task import Task


def task(prompt: str, **group: object) -> Task:
    by = {"key": "{{ item }}", **group}
    return Task.model_validate({"name": "t", "for_each": "{{ seed.rows }}", "prompt": prompt, "group_by": by})


def test_the_room_is_that_of_the_smallest_model() -> None:
    small = prompt_room(task("x"), [("local:smollm2-135m", 200), ("openai:gpt-5-mini", 200)])
    assert small == 2048 * 8 // 10 - 200
    assert prompt_room(task("x"), [("openai:gpt-5-mini", 200)]) > 100_000
    assert prompt_room(task("x"), [("local:smollm2-135m", 2000)]) == 256
    assert prompt_room(task("x", tokens=77), [("openai:gpt-5-mini", 200)]) == 77


def test_a_prompt_that_fails_for_one_row_too_is_not_too_long() -> None:
    prompt = PromptTask(task("{{ item.rows | join }} {{ item.rows[0].missing }}"))
    fits = fits_in(50, prompt, prompt, {}, lambda: None)
    assert fits({"key": 1, "rows": [{}] * 1000}, False)
    text = PromptTask(task("{{ item.rows | join }}"))
    fits = fits_in(50, text, text, {}, lambda: None)
    assert fits({"key": 1, "rows": ["x" * 20]}, False)
    assert not fits({"key": 1, "rows": ["x" * 20] * 20}, False)
