"""What does not go together with an operator is refused before a run."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from po_jupyter.model.pipeline.task import Task

OTHER = {"type": "object", "properties": {"z": {"type": "string"}}}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"where": "{{ item }}", "for_each": None}, "no `for_each`"),
        ({"where": "{{ item }}", "unnest": "x"}, "has one of them"),
        ({"where": True}, "there is no `prompt`"),
        ({"where": "{{ item }}", "source": "def inference(ctx): pass"}, "not by Python"),
        ({"where": True, "prompt": "x", "output": OTHER}, "reads `answer` of the answer"),
        ({"distinct": True, "prompt": "x"}, "asks no model"),
        ({"unnest": "x", "prompt": "x"}, "asks no model"),
        ({"top_k": 3}, "needs `by`"),
        ({"top_k": {"k": 3, "pairs": True}}, "needs `by`"),
        ({"top_k": 3, "prompt": "x", "output": OTHER}, "reads `score` of the answer"),
        ({"top_k": {"k": 3, "pairs": True}, "prompt": "x", "mode": "batch"}, "asks in rounds"),
        ({"group_by": "{{ item }}", "prompt": "x", "mode": "batch"}, "asks in rounds"),
        ({"group_by": "{{ item }}", "prompt": "x", "shards": 2}, "do not go together"),
        ({"group_by": {"key": "{{ item }}", "combine": "x"}}, "there is none of"),
        ({"join": {"to": "{{ seed.b }}", "left_key": "{{ item }}"}}, "both `left_key` and `right_key`"),
        ({"top_k": {"k": 0}}, "greater than or equal to 1"),
    ],
)
def test_it_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Task.model_validate({"name": "t", "for_each": "{{ seed.rows }}", **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"where": True, "prompt": "x", "mode": "batch"}, {"top_k": 3, "prompt": "x", "mode": "batch", "votes": 3},
        {"join": "{{ seed.b }}", "prompt": "x", "votes": 3},
        {"where": "{{ output.z }}", "prompt": "x", "output": OTHER},
    ],
)  # fmt: skip
def test_it_goes_together(fields: dict[str, Any]) -> None:
    if fields.get("mode") == "batch":
        fields = {name: value for name, value in fields.items() if name != "votes"}
    Task.model_validate({"name": "t", "for_each": "{{ seed.rows }}", **fields})
