"""The state of a map: counts, outcomes, the threshold and the progress that is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.engine.base.usage_sum import UsageSum
from po_jupyter.engine.maps.dependencies import AnswerNotes, ReusableOutcome
from po_jupyter.engine.maps.map_loading import load_map
from po_jupyter.engine.maps.map_state import UNFLUSHED, MapState
from po_jupyter.errors import ModelRefused, StageFailed, ThresholdExceeded
from po_jupyter.model.run.usage import Usage
from tests.support.maps import events, items, map_state


def used(calls: int = 1) -> UsageSum:
    usage = UsageSum()
    usage.add(Usage(input_tokens=10, calls=calls))
    return usage


async def test_an_outcome_counts_at_once_and_has_its_place_once_it_is_durable(tmp_path: Path) -> None:
    state = await map_state(tmp_path, ["a", "b"])
    state.succeed(1, "key", used(), {"label": "x"})
    assert (state.done, state.failed, state.remaining) == (1, 0, 1)
    assert list(state.open_indexes()) == [0]
    assert state.table[1].output is None
    await state.parts.log.flush()
    place = state.table[1].output
    assert place is not None and state.parts.log.payload(place) == {"label": "x"}
    (item,) = items(state)
    assert item["key"] == "key" and item["usage"]["input_tokens"] == 10


async def test_a_failure_is_an_outcome_and_an_event(tmp_path: Path) -> None:
    state = await map_state(tmp_path, ["a", "b"])
    state.fail(0, "key", UsageSum(), ModelRefused("no"))
    await state.parts.log.flush()
    (item,), (event,) = items(state), events(state, "item.failed")
    assert not item["ok"] and item["error"] == event["data"]["error"]
    assert "usage" not in item, "nothing was used"


async def test_too_many_failures_stop_the_map(tmp_path: Path) -> None:
    state = await map_state(tmp_path, range(10), failure_threshold=0.1)
    state.fail(0, "k", UsageSum(), StageFailed("x"))
    assert state.error is None
    state.fail(1, "k", UsageSum(), StageFailed("x"))
    with pytest.raises(ThresholdExceeded, match=r"2 of 10 rows failed; failure_threshold 0\.1 allows 1"):
        state.finish()


async def test_rows_at_work_that_fail_after_the_threshold_was_passed_are_counted(tmp_path: Path) -> None:
    """`1 of 10 rows failed ... most often (3 times)` it said."""
    state = await map_state(tmp_path, range(10), failure_threshold=0.0)
    for index in range(3):
        state.fail(index, "k", UsageSum(), StageFailed("x"))
    state.judge()
    with pytest.raises(ThresholdExceeded, match="3 of 10 rows failed") as caught:
        state.finish()
    assert caught.value.details["failed"] == 3


async def test_the_first_error_is_that_of_the_map(tmp_path: Path) -> None:
    state = await map_state(tmp_path, range(3))
    state.stop(ModelRefused("first"))
    state.stop(ModelRefused("second"))
    with pytest.raises(ModelRefused, match="first"):
        state.finish()


async def test_a_drain_leaves_open_rows_for_later_and_a_finished_map_is_finished(tmp_path: Path) -> None:
    state = await map_state(tmp_path, ["a"])
    state.parts.boundary.drain()
    with pytest.raises(Drained):
        state.finish()
    state.succeed(0, "k", UsageSum(), 1)
    assert state.finish() == {"$map": "m", "total": 1}


async def test_who_takes_the_map_up_again_in_this_process_knows_who_answered_alone(tmp_path: Path) -> None:
    state = await map_state(tmp_path, ["a", "b"])
    state.succeed(0, "k", UsageSum(), 1, notes=AnswerNotes(alone=True))
    state.succeed(1, "k", UsageSum(), 1)
    assert state.parts.history.alone == {"m": {0}}


async def test_progress_is_emitted_when_there_is_any(tmp_path: Path) -> None:
    state = await map_state(tmp_path, ["a", "b"])
    state.start()
    state.succeed(0, "k", used(), 1)
    state.report_progress()
    state.report_progress()
    state.succeed(1, "k", used(), 1)
    state.report_progress()
    await state.parts.log.flush()
    first, second = events(state, "map.progress")
    assert (first["data"]["done"], first["data"]["usage"]["input_tokens"]) == (1, 10)
    assert (second["data"]["done"], second["data"]["usage"]["input_tokens"]) == (2, 10)
    assert events(state, "map.started")[0]["data"] == {"total": 2, "stage": "inference"}


async def test_what_a_row_used_that_is_left_open_is_reported_by_the_row(tmp_path: Path) -> None:
    """A resume that replays its answers must know that they were counted."""
    state = await map_state(tmp_path, ["a", "b"])
    state.report_usage(1, "inference", Usage(calls=1, unknown=1).to_json(), 101)
    state.report_usage(0, "inference", Usage().to_json())  # nothing
    await state.parts.log.flush()
    (event,) = events(state, "call.unknown")
    assert (event["item"], event["data"]["covers"], event["data"]["usage"]["unknown"]) == (1, 101, 1)


async def test_a_copied_outcome_names_its_origin_and_counts_as_reused(tmp_path: Path) -> None:
    state = await map_state(tmp_path, ["a"])
    state.copy_outcome("k", ReusableOutcome(0, "x", "run/m/7", {}))
    state.report_progress()
    await state.parts.log.flush()
    assert items(state)[0]["reused"] == "run/m/7"
    assert events(state, "map.progress")[-1]["data"]["reused"] == 1


async def test_rows_wait_for_the_disk_when_many_outcomes_are_on_their_way(tmp_path: Path) -> None:
    state = await map_state(tmp_path, range(UNFLUSHED + 1))
    for index in range(UNFLUSHED):
        assert not state.must_flush
        state.succeed(index, "k", UsageSum(), index)
    assert state.must_flush
    await state.flush()
    assert len(items(state)) == UNFLUSHED
    assert not state.must_flush


async def test_another_attempt_begins_with_the_outcomes_of_the_log(tmp_path: Path) -> None:
    state = await map_state(tmp_path, ["a", "b", "c"], options={"limit": 2})
    state.succeed(0, "k", UsageSum(), 1)
    again: MapState = await load_map(state.parts, state.task, 2)
    assert (again.total, again.done, list(again.open_indexes())) == (2, 1, [1])
