"""The kinds of files in a seed, by their content: a model that takes none of them is refused before the run."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from po_jupyter.engine.planning.check import violations
from po_jupyter.engine.planning.file_kinds import kinds_in
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.seed import Seed
from tests.support.pdf import pdf
from tests.support.sound import mp3, sound_url, wav


def pipeline_of(**more: Any) -> Any:
    task = {"name": "t", "prompt": "What?", "for_each": "{{ seed.rows }}", "files": ["{{ item }}"], **more}
    return validate_pipeline({"name": "p", "llm": {"model": "fake:echo"}, "tasks": [task]})


def seed_of(*rows: str) -> Seed:
    return Seed(name="s", data={"rows": list(rows)})


def test_kinds_are_told_by_content_and_not_by_type() -> None:
    (task,) = pipeline_of().tasks
    seed = seed_of(
        sound_url(wav()), sound_url(mp3()), sound_url(pdf()), "a.mp3", "", "data:;base64,%%%", "data:,x"
    )
    assert list(kinds_in(task, seed)) == ["audio", "audio", "pdf"]
    (blind,) = pipeline_of(for_each="{{ tasks.none.output }}", needs=[]).tasks
    assert list(kinds_in(blind, seed)) == []


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{{ item.sound }}", ["audio"]),
        ("{{item['sound']}}", ["audio"]),
        ('{{ seed.rows[0]["sound"] }}', ["audio"]),
        ("{{ seed.rows[7].sound }}", []),
        ("{{ item.sound.more }}", []),
        ("{% for a in range(5000000) %}{% for b in range(5000000) %}{% endfor %}{% endfor %}", []),
        ("{{ (range(5000000) | map('string') | join)[0:0] ~ item.sound }}", []),
    ],
)
def test_templates_that_make_something_are_not_rendered(template: str, found: list[str]) -> None:
    """A check reads definitions where others wait for it: a template might take for ever."""
    (task,) = pipeline_of(files=[template]).tasks
    seed = Seed(name="s", data={"rows": [{"sound": sound_url(wav())}]})
    assert list(kinds_in(task, seed)) == found


def test_a_model_that_hears_nothing_is_refused_before_the_run() -> None:
    """P11."""
    seed = seed_of("data:application/pdf;base64," + base64.b64encode(wav()).decode())
    (message,) = [
        v.message for v in violations(pipeline_of(llm={"model": "anthropic:claude-sonnet-4-5"}), seed)
    ]
    assert "anthropic:claude-sonnet-4-5 is not known to take sound; models that do are" in message
    assert not violations(pipeline_of(llm={"model": "openai:gpt-audio"}), seed)
