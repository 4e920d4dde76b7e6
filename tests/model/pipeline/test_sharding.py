"""`shards` in a definition: where it may stand, and the line of one that may not."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.parsing import parse_pipeline, validate_pipeline

MAP = {"name": "m", "prompt": "{{ item }}", "for_each": "{{ seed.rows }}"}


@pytest.mark.parametrize("shards", [1, 64, "auto"])
def test_a_map_has_a_number_of_shards_or_auto(shards: Any) -> None:
    pipeline = validate_pipeline({"name": "p", "tasks": [{**MAP, "shards": shards}]})
    assert pipeline.task("m").shards == shards
    assert pipeline.to_json()["tasks"][0]["shards"] == shards


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ({**MAP, "shards": 0}, "shards"),
        ({**MAP, "shards": 65}, "shards"),
        ({**MAP, "shards": "many"}, "shards"),
        ({"name": "m", "prompt": "x", "shards": 2}, "`shards` is for maps; it needs `for_each`"),
        ({**MAP, "mode": "batch", "shards": 2}, "`shards` and `mode: batch` do not go together"),
        ({**MAP, "images": ["a.png"], "shards": 2}, "`shards` and `images` or `files` do not go together"),
        ({**MAP, "files": ["a.pdf"], "shards": 2}, "`shards` and `images` or `files` do not go together"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(task: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidPipeline) as raised:
        validate_pipeline({"name": "p", "tasks": [task]})
    assert problem in str(raised.value.violations)


def test_the_violation_has_its_line() -> None:
    text = "name: p\ntasks:\n  - name: a\n    prompt: x\n  - name: m\n    prompt: y\n    shards: 2\n"
    with pytest.raises(InvalidPipeline) as raised:
        parse_pipeline(text)
    assert [v.line for v in raised.value.violations] == [5]
