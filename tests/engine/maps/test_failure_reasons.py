"""A map of which every row failed: its end, the reason that it gives, and what follows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.maps.run_map import run_map
from po_jupyter.errors import ModelRefused, StageFailed, ThresholdExceeded
from po_jupyter.llm.chat import ChatRequest
from tests.support.engine import Bench
from tests.support.maps import map_parts

ROWS_AND_SUMMARY = [
    {"name": "label", "for_each": "{{ seed.rows }}", "prompt": "Label: {{ item.text }}"},
    {"name": "summary", "prompt": "Sum up: {{ tasks.label }}"},
]


def refusing(*refused: str) -> Any:
    """Answers every row but these, which are refused with a message that has the row's text."""

    def answer(request: ChatRequest) -> str:
        text = request.messages[-1].content
        if text in refused:
            raise ModelRefused(f"the model {text} does not exist", hint="po models lists those that do.")
        return "x"

    return answer


async def test_a_map_of_which_every_row_failed_has_failed_and_says_why(tmp_path: Path) -> None:
    """DESIGN 9: it ended `done`, green, and the next task was asked about nothing."""
    parts = map_parts(tmp_path, ["1", "2", "3"], refusing("1", "2", "3"))
    with pytest.raises(ThresholdExceeded) as caught:
        await run_map(parts, parts.log.pipeline.task("m"), 1)
    assert caught.value.message == "all 3 rows failed: the model 1 does not exist", "alike but for numbers"
    assert caught.value.hint.startswith("po models lists those that do.")
    reason = {"code": "model_refused", "message": "the model 1 does not exist", "count": 3}
    details = dict(caught.value.details)
    assert "raise ModelRefused" in details.pop("traceback"), "the lines of the row's own code"
    assert details == {"failed": 3, "total": 3, "done": 0, "reason": reason}


async def test_one_row_that_succeeded_is_enough(tmp_path: Path) -> None:
    parts = map_parts(tmp_path, ["1", "2", "3"], refusing("1", "3"))
    assert await run_map(parts, parts.log.pipeline.task("m"), 1) == {"$map": "m", "total": 3}


async def test_a_pipeline_may_allow_every_row_to_fail(tmp_path: Path) -> None:
    parts = map_parts(tmp_path, ["1"], refusing("1"), failure_threshold=1.0)
    assert parts.log.pipeline.to_json()["tasks"][0]["failure_threshold"] == 1.0, "kept in the definition"
    assert await run_map(parts, parts.log.pipeline.task("m"), 1) == {"$map": "m", "total": 1}


async def test_a_map_without_rows_is_done(tmp_path: Path) -> None:
    parts = map_parts(tmp_path, [])
    assert await run_map(parts, parts.log.pipeline.task("m"), 1) == {"$map": "m", "total": 0}


async def test_the_commonest_reason_is_given_of_several(tmp_path: Path) -> None:
    def answer(request: ChatRequest) -> str:
        raise StageFailed("odd") if request.messages[-1].content == "0" else ModelRefused("no such model")

    parts = map_parts(tmp_path, range(5), answer, retry={"max_attempts": 1})
    with pytest.raises(ThresholdExceeded, match=r"all 5 rows failed: most often \(4 times\): no such model"):
        await run_map(parts, parts.log.pipeline.task("m"), 1)


async def test_a_threshold_that_was_passed_says_why_too(tmp_path: Path) -> None:
    parts = map_parts(tmp_path, range(4), refusing("0", "1", "2"), failure_threshold=0.5)
    with pytest.raises(ThresholdExceeded, match=r"failure_threshold 0\.5 allows 2: the model 0 does not exist"):
        await run_map(parts, parts.log.pipeline.task("m"), 1)


async def test_the_next_task_is_not_paid_for_with_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.create(ROWS_AND_SUMMARY, {"rows": [{"txt": "a"}, {"txt": "b"}]})
    assert await bench.go() == "failed"
    state = bench.state
    assert state.tasks["label"].state == "failed"
    assert state.tasks["summary"].state == "pending"
    assert state.error is not None and "all 2 rows failed: " in state.error["message"]
    assert "text" in state.error["message"]
    assert bench.fake.requests == []


@pytest.mark.parametrize("limit", [1, 2])
async def test_the_rows_of_a_limit_are_all_rows(tmp_path: Path, limit: int) -> None:
    parts = map_parts(tmp_path, ["1", "2", "ok"], refusing("1", "2"), options={"limit": limit})
    expected = "the only row failed" if limit == 1 else "all 2 rows failed"
    with pytest.raises(ThresholdExceeded, match=expected):
        await run_map(parts, parts.log.pipeline.task("m"), 1)
