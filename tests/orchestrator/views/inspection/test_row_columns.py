"""Rows in columns of numbers."""

from __future__ import annotations

from typing import Any

from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.views.inspection.row_columns import MapColumns


def item(index: int, **more: Any) -> Any:
    return {"task": "m", "index": index, "ok": True, "output": [1, 0], **more}


def call(index: int, attempt: int, kind: str, stage: str = "inference", of: str = "fake:m", **more: Any) -> Any:
    named = {"model": of} if kind == "intent" else {}
    return {"key": f"m/{index}/{attempt}/0/{stage}/{of}/0", "kind": kind, **named, **more}


def test_a_row_has_the_sums_of_its_calls_and_what_is_special_about_it() -> None:
    maps = MapColumns()
    answered = {"seconds": 1.5, "model": "m-2026"}
    maps.apply([], [call(70, 100, "intent"), call(70, 100, "response", ok=False)], 1)
    maps.apply([], [call(70, 101, "intent"), call(70, 101, "response", ok=True, response=answered)], 2)
    usage = {"input_tokens": 3, "output_tokens": 2, "cost": None, "cached_calls": 1, "unknown": 1}
    maps.apply([item(70, usage=usage, reused="r/m/1", artifacts=[{}])], [], 3)
    numbers = maps.of("m").numbers(70)
    assert numbers == (2, 5, None, 1.5, "m-2026", ["reused", "cached", "unknown", "artifacts"])
    assert maps.of("m").numbers(9999) == (0, 0, 0.0, 0.0, None, [])
    assert maps.of("m").sort_key("cost_usd")(70) == -1.0
    assert maps.of("nowhere").total == 0


def test_a_resume_opens_failed_rows_and_a_restart_makes_all_void() -> None:
    maps = MapColumns()
    maps.apply_event(draft("map.started", "m", total=5, of="rows"))
    maps.apply([item(0), {"task": "m", "index": 1, "ok": False, "error": {}}], [], 1)
    maps.apply_event(draft("run.resumed", by="me", reset=["m"]))
    assert list(maps.of("m").table) == [0]
    assert (maps.of("m").total, maps.of("m").rows_of) == (5, "rows")
    maps.apply_event(draft("run.resumed", by="me", reset=["m"], clear=["m"]))
    assert (list(maps.of("m").table), maps.of("m").total) == ([], 0)


def test_a_count_is_kept_whatever_its_size() -> None:
    maps = MapColumns()
    for tokens, kept in ((5 * 10**9, 5 * 10**9), (10**30, 2**64 - 1), (-3, 0)):
        maps.apply([item(0, usage={"input_tokens": tokens})], [], 1)
        assert maps.of("m").numbers(0).tokens == kept
        maps = MapColumns()


def test_a_row_that_failed_adds_no_second_model() -> None:
    """Its call names the model as it was asked for, those that were answered as the server does."""
    maps = MapColumns()
    maps.apply([], [call(0, 100, "intent"), call(0, 100, "response", ok=True, response={"model": "m-2026"})], 1)
    maps.apply([], [call(1, 100, "intent"), call(1, 100, "response", ok=False)], 2)
    assert maps.of("m").models == ["m-2026"]
    assert maps.of("m").models_of([1]) == ["fake:m"]


def test_a_row_names_the_model_that_ended_last_and_no_judge() -> None:
    """The judge stood in the place of who answered, and the first of a cascade in that of the last, which failed."""
    maps = MapColumns()
    small = {"ok": True, "response": {"model": "small-2026"}}
    for index in range(3):
        maps.apply([], [call(index, 100, "intent"), call(index, 100, "response", **small)], 1)
    judge = {"stage": "score", "of": "fake:judge"}
    answer = {"ok": True, "response": {"model": "judge-2026"}}
    maps.apply([], [call(0, 100, "intent", **judge), call(0, 100, "response", **judge, **answer)], 2)
    maps.apply(
        [], [call(1, 100, "intent", of="fake:big"), call(1, 100, "response", of="fake:big", ok=False)], 3
    )
    maps.apply([], [call(2, 101, "intent"), call(2, 101, "response", ok=False)], 4)  # a vote of the same model
    assert [maps.of("m").numbers(index).model for index in range(3)] == ["small-2026", "fake:big", "small-2026"]
