"""The templates of a task, each with its place."""

from __future__ import annotations

from po_jupyter.engine.prompts.task_templates import templates_of

from po_jupyter.model.pipeline.pipeline import Task


def test_every_template_of_a_task_has_its_place() -> None:
    task = Task.model_validate({
        "name": "t", "system": "s", "prompt": [{"role": "user", "content": "p"}], "images": ["i"], "for_each": "f",
        "refine": {"critique": "c"}, "llm": [{"model": "a:b"}, {"model": "a:c", "when": "w"}],
        "score": [{"expect": "e"}, {"judge": "j", "expect": "g"}],
    })  # fmt: skip
    assert dict(templates_of(task)) == {
        "system": "s", "prompt[0].content": "p", "images[0]": "i", "for_each": "f", "refine.critique": "c",
        "llm[1].when": "w", "score[0].expect": "e", "score[1].expect": "g", "score[1].judge": "j",
    }  # fmt: skip
    assert dict(templates_of(Task(name="t", prompt="p", score={"expect": "e"})))["score.expect"] == "e"  # type: ignore[arg-type]
