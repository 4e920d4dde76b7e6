"""What a person is told about wrong input, by every model that reads some: words, without the validator's own."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from po_jupyter.config.settings import Settings
from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.pipeline.violations import violations_of
from po_jupyter.orchestrator.submission.request import Submission
from po_jupyter.server import routing

WRONG: tuple[Any, ...] = (
    None, True, 5, -5, 1.5, "", "x", [1], [[1]], {"zz": 1}, [{"zz": 1}], {"a": {"zz": 1}}, {"a": [1]},
)  # fmt: skip
# Names of the forms of a value that pydantic tries in turn (`shards.constrained-int`), and patterns.
OF_THE_VALIDATOR = re.compile(
    r"[\[.](constrained|literal|function|tagged|(str|int|bool|float)\b|list\[|dict\[|·)|match pattern"
)


def models() -> Iterator[type[BaseModel]]:
    yield Submission
    yield Settings
    for module in pkgutil.iter_modules(routing.__path__, f"{routing.__name__}."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel:
                yield value


@pytest.mark.parametrize("model", dict.fromkeys(models()), ids=lambda model: model.__name__)
def test_wrong_values_of_a_field_are_told_in_words(model: type[BaseModel]) -> None:
    for name in model.model_fields:
        for value in WRONG:
            try:
                model.model_validate({name: value})
            except ValidationError as error:
                told = [
                    violation.message for violation in violations_of(error, known=tuple(model.model_fields))
                ]
                assert not [text for text in told if OF_THE_VALIDATOR.search(text)], (name, value)


@pytest.mark.parametrize("name", Task.model_fields)
def test_wrong_values_of_a_field_of_a_task_are_told_in_words(name: str) -> None:
    for value in WRONG:
        task = {"name": "x", "for_each": "{{ seed.rows }}", "prompt": "hi", name: value}
        told = messages({"name": "p", "tasks": [task]})
        assert not [text for text in told if OF_THE_VALIDATOR.search(text)], value
        assert not [text for text in told if "is not a field of a pipeline" in text], value


@pytest.mark.parametrize("name", Pipeline.model_fields)
def test_wrong_values_of_a_field_of_a_pipeline_are_told_in_words(name: str) -> None:
    for value in WRONG:
        told = messages({"name": "p", "tasks": [{"name": "x", "prompt": "hi"}], name: value})
        assert not [text for text in told if OF_THE_VALIDATOR.search(text)], value


def messages(pipeline: dict[str, Any]) -> list[str]:
    try:
        validate_pipeline(pipeline)
    except InvalidPipeline as error:
        return [violation.message for violation in error.violations]
    return []
