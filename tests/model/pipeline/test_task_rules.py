"""Fields of a task that do not go together, each with what would work."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from po_jupyter.model.pipeline.task import Task


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "x", "source": "x = 1"}, "only one of the two"),
        ({"prompt": "x", "task": "b"}, "only one of the two"),
        ({"system": "x"}, "has `system` but no `prompt`"),
        ({"images": ["a.png"]}, "ctx.llm.chat(images=...)"),
        ({"source": "x = 1", "tools": ["files.add"]}, "ctx.llm.chat(tools=...)"),
        ({"output": {}}, "has `output` but no `prompt`"),
        (
            {"prompt": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], "system": "c"},
            "a `system` and a system message",
        ),
        ({"mode": "batch", "for_each": "[1]"}, "`mode: batch` is for prompt tasks"),
        ({"mode": "batch", "prompt": "x"}, "it needs `for_each`"),
        ({"votes": 3, "task": "b"}, "`votes` is for prompt tasks"),
        ({"votes": 3, "prompt": "x", "for_each": "[1]", "mode": "batch"}, "a batch takes up to a day"),
        ({"llm": [{"model": "a:b"}, {"model": "a:c", "when": "{{ true }}"}], "task": "b"}, "a list of models"),
        ({"shards": 2, "prompt": "x"}, "shards"),
        (
            {"where": "{{ item }}", "for_each": "[1]", "score": {"expect": "{{ item }}", "metrics": ["exact"]}},
            "`where` makes rows",
        ),
        ({"mode": "batch", "prompt": "x", "for_each": "[1]", "tools": ["a.b"]}, "do not go together"),
    ],
)
def test_fields_that_do_not_go_together_are_told(fields: dict[str, Any], message: str) -> None:
    """P11: before the run, with the way that would work."""
    with pytest.raises(ValidationError) as caught:
        Task.model_validate({"name": "a", **fields})
    assert message in str(caught.value)
