"""Pipelines that callers pass in."""

from __future__ import annotations

import pytest

from po_jupyter.client.inputs.pipelines import has_code


@pytest.mark.parametrize(
    ("task", "code"),
    [
        ({"name": "a", "prompt": "x"}, False),
        ({"name": "a", "prompt": "x", "output": {}}, False),
        ({"name": "a", "prompt": "x", "output": {}, "output_type": "Answer = int"}, True),
        ({"name": "a", "source": "def integration(ctx): ..."}, True),
        ("a", True),
    ],
)
def test_a_definition_with_code_runs_with_the_callers_python(task: object, code: bool) -> None:
    """The validators of a class need its packages, as a Python task does."""
    assert has_code({"name": "p", "tasks": [task]}) is code
