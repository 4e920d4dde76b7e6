"""A task of a pipeline and its values: short forms, what goes together, and what overrides what."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.llm_settings import LLM, CallRetry
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.task import Task
from po_jupyter.model.pipeline.task_parts import Gate

FIRST_SYSTEM: dict[str, Any] = {"name": "p", "tasks": ["a"]}


def task(**fields: Any) -> Task:
    return Task.model_validate({"name": "a", **fields})


def test_a_task_overrides_its_pipeline() -> None:
    base = LLM(model="openai:a", temperature=0.0, max_tokens=10)
    assert LLM(temperature=1.0).over(base) == LLM(model="openai:a", temperature=1.0, max_tokens=10)
    assert LLM(model="openai:b").over(None).model == "openai:b"
    merged = LLM(stop="x", retry=CallRetry(max_attempts=1)).over(LLM(model="openai:a", stop="y", seed=3))
    assert (merged.model, merged.stop, merged.seed) == ("openai:a", ("x",), 3)
    assert merged.retry == CallRetry(max_attempts=1)


def test_zero_is_a_setting_and_no_lack_of_one() -> None:
    """A temperature of 0 is what many want most."""
    assert LLM(temperature=0.0, max_thinking_tokens=0).over(LLM(temperature=1.0, max_thinking_tokens=9)) == LLM(
        temperature=0.0, max_thinking_tokens=0
    )


def test_the_provider_is_not_said_twice() -> None:
    assert (
        validate_pipeline({**FIRST_SYSTEM, "llm": {"provider": "openai", "model": "openai:x"}}).llm.model
        == "openai:x"
    )
    assert (
        validate_pipeline({**FIRST_SYSTEM, "llm": {"provider": "ollama", "model": "a:8b"}}).llm.model
        == "ollama:a:8b"
    )


def test_short_forms() -> None:
    gate = {"name": "a", "gate": True}
    pipeline = validate_pipeline(
        {
            "name": "a",
            "llm": "openai:x",
            "tasks": [gate, {"name": "b", "needs": "a", "gate": "look"}, {"name": "c", "gate": False}],
        }
    )
    assert pipeline.llm.model == "openai:x"
    assert [t.gate.message if t.gate else None for t in pipeline.tasks] == ["", "look", None]


def test_one_of_several_may_stand_alone() -> None:
    one = task(prompt="x", needs="b", images="a.png", tools="files.add", llm={"model": "a:b", "stop": "END"})
    assert (one.needs, one.images, one.tools, one.llm.stop) == (("b",), ("a.png",), ("files.add",), ("END",))
    assert (task().needs, task(needs=[]).needs) == (None, ()), "none is not the task before it"
    assert task(gate="look").gate == Gate(message="look")


@pytest.mark.parametrize(
    ("fields", "kind", "module", "code"),
    [
        ({"prompt": "x"}, "prompt", None, False),
        ({}, "python", "a", False),
        ({"task": "other"}, "python", "other", False),
        ({"source": "x = 1"}, "python", None, True),
        ({"prompt": "x", "output": {}, "output_type": "Answer = int"}, "prompt", None, True),
    ],
)
def test_a_task_knows_what_it_runs_and_whether_it_brings_code(
    fields: dict[str, Any], kind: str, module: str | None, code: bool
) -> None:
    """DESIGN, Doors: what brings code needs the scope `code:run`."""
    made = task(**fields)
    assert (made.kind, made.module, made.carries_code) == (kind, module, code)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tools": ["add"], "prompt": "x"}, "tools"),
        ({"cache": "yes"}, "`cache` is true, false or refresh"),
        ({"source": "def x(:"}, "the Python does not parse: invalid syntax in line 1 of it"),
        ({"source": "x = 1\0"}, "the Python does not parse"),
        ({"source": "(" * 10_000 + ")" * 10_000}, "the Python does not parse"),
        ({"llm": {"provider": "openai"}}, "without a `model`"),
        ({"llm": "gpt-5"}, "provider:model"),
    ],
)
def test_wrong_values_are_told(fields: dict[str, Any], message: str) -> None:
    """P11: before the run, with the way that would work."""
    with pytest.raises(ValidationError) as caught:
        task(**fields)
    assert message in str(caught.value)


@pytest.mark.parametrize("cache", [True, False, "refresh", None])
def test_the_modes_of_the_cache(cache: Any) -> None:
    assert task(cache=cache).cache is cache or task(cache=cache).cache == cache


def test_a_task_comes_back_from_json_as_it_was() -> None:
    """P1: runs keep it so."""
    made = task(prompt="x", llm={"provider": "openai", "model": "m"}, gate=True, needs="b", timeout=3)
    assert Task.model_validate(made.model_dump(mode="json")) == made


def test_code_is_parsed_when_it_is_submitted_and_not_by_each_worker_again() -> None:
    """P1: what a run recorded is read as it stands; the stage that cannot be loaded says what is wrong."""
    definition = {"name": "p", "tasks": [{"name": "a", "source": "def broken(:"}]}
    with pytest.raises(InvalidPipeline, match="does not parse"):
        validate_pipeline(definition)
    assert validate_pipeline(definition, recorded=True).tasks[0].source == "def broken(:"
