"""The published schema says what the parser says."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.editing.schema import fields_at, pipeline_schema, values_at
from po_jupyter.model.pipeline.parsing import parse_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline, Task

TASK = "name: p\ntasks:\n  - name: a\n    prompt: hi\n    {}\n"


def fits(text: str) -> bool:
    return bool(Draft202012Validator(pipeline_schema()).is_valid(YAML(typ="safe", pure=True).load(text)))


def is_read(text: str) -> bool:
    try:
        parse_pipeline(text)
    except InvalidPipeline:
        return False
    return True


GOOD = [
    "name: p\ntasks: [extract]\n",
    "name: p\nllm: openai:gpt-5-mini\ntasks: [a]\n",
    "name: p\nllm: {provider: moonshot, model: kimi}\ntasks: [a]\n",
    *map(
        TASK.format,
        [
            "needs: []", "needs: null", "gate: true", "gate: look at it", "gate: {message: x}", "cache: refresh",
            "cache: false", "images: a.png", "llm: {stop: END}", "output: {type: object, properties: {a: {}}}",
            "output: {type: [string, 'null'], x-mine: 1}", "failure_threshold: 0.5", "config: {anything: [1]}",
            "for_each: '{{ seed.rows }}'", "retry: {max_attempts: 2}", "llm: openai:gpt-5-mini",
        ],
    ),
]  # fmt: skip
BAD = [
    "name: p\n",
    "name: p\ntasks: []\n",
    "name: P!\ntasks: [a]\n",
    *map(
        TASK.format,
        [
            "promt: x", "max_concurrency: 0", "cache: sometimes", "mode: slow", "llm: {effort: huge}", "timeout: -1",
            "retry: {attempts: 2}", "refine: 3",
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_what_the_parser_takes_fits(text: str) -> None:
    assert is_read(text)
    assert fits(text)


@pytest.mark.parametrize("text", BAD)
def test_what_the_parser_refuses_does_not_fit(text: str) -> None:
    assert not is_read(text)
    assert not fits(text)


def test_it_is_a_schema_with_every_field_described() -> None:
    Draft202012Validator.check_schema(pipeline_schema())
    assert list(fields_at(())) == list(Pipeline.model_fields)
    assert list(fields_at(("tasks", 0))) == list(Task.model_fields)
    for path in ((), ("tasks", 3), ("llm",), ("tasks", 0, "retry"), ("tasks", 0, "gate"), ("budget",)):
        assert fields_at(path), path
        assert [name for name, field in fields_at(path).items() if not field.get("description")] == []


def test_fields_and_values_are_found_below_short_forms_and_in_schemas_of_answers() -> None:
    assert "max_tokens" in fields_at(("tasks", 0, "llm"))
    assert values_at(("tasks", 0, "llm", "effort"))[:2] == ["none", "minimal"]
    assert set(values_at(("tasks", 0, "cache"))) == {"true", "false", "refresh"}
    assert "required" in fields_at(("tasks", 0, "output", "properties", "label"))
    assert "object" in values_at(("tasks", 0, "output", "type"))
    assert values_at(("tasks", 0, "prompt", 0, "role")) == ["system", "user", "assistant"]
    assert fields_at(("nothing", 0, "here")) == {}
