"""A definition that was found good is not checked again for each run of it; what the check looks at still counts."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.examination.checked import CheckedDefinitions
from po_jupyter.orchestrator.examination.operations import Examination, examine_here

PROMPT = "{{ seed.text }} {{ seed.rows[0].id }}"
GOOD = {"name": "p", "tasks": [{"name": "a", "prompt": PROMPT, "llm": "fake:echo"}]}
DATA = {"text": "Hi", "rows": [{"id": 1}], "on": True}


class Examined:
    """Counts what is examined anew."""

    def __init__(self, most: int = 256) -> None:
        self.count = 0
        self._checked = CheckedDefinitions(most)

    def __call__(self, data: Any = DATA, definition: object = GOOD, **more: Any) -> Pipeline | JsonObject:
        def examine(examination: Examination) -> Pipeline | JsonObject:
            self.count += 1
            return examine_here(examination)

        examination: Any = {"what": "check", "definition": definition, "data": data, **more}
        return self._checked.examine(examination, examine)


def test_other_texts_and_numbers_are_no_other_seed() -> None:
    examined = Examined()
    first = examined()
    assert examined({"text": "Ho, and more", "rows": [{"id": 2_000}], "on": True}) is first
    assert examined.count == 1


@pytest.mark.parametrize(
    "data",
    [
        {"text": "Hi", "rows": [{"id": 1}]},
        {"text": 1, "rows": [{"id": 1}], "on": True},
        {"text": "Hi", "rows": [{"id": 1.5}], "on": True},
        {"text": "Hi", "rows": [{"id": 1}, {"id": 2}], "on": True},
        {"text": "Hi", "rows": [{"id": 1}], "on": 1},
        None,
    ],
)
def test_data_of_another_shape_are_checked(data: Any) -> None:
    examined = Examined()
    assert examined() == examined(data)
    assert examined.count == 2


@pytest.mark.parametrize(
    "more",
    [
        {"what": "parse"},
        {"definition": {**GOOD, "description": "another"}},
        {"model": "fake:other"},
        {"budget": {"tokens": 5}},
        {"recorded": True},
        {"name": "p"},
    ],
)
def test_whatever_else_is_asked_is_examined(more: dict[str, Any]) -> None:
    examined = Examined()
    examined()
    examined(**more)
    assert examined.count == 2


def test_what_is_wrong_is_said_each_time() -> None:
    examined = Examined()
    examined()
    for _ in range(2):
        with pytest.raises(InvalidPipeline, match=r"seed\.text"):
            examined({"rows": [{"id": 1}]})
        with pytest.raises(InvalidPipeline, match="rows"):
            examined({"text": "Hi", "rows": [{"it": 1}]})
    assert examined.count == 5


def test_large_data_are_checked_each_time_and_few_pipelines_are_kept() -> None:
    examined = Examined(most=1)
    for _ in range(2):
        examined({**DATA, "text": "x" * 100_000})
    assert examined.count == 2
    other = {**GOOD, "name": "other"}
    examined(), examined(definition=other), examined()
    assert examined.count == 5
