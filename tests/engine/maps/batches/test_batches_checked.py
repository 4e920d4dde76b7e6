"""`mode: batch` before anything runs: what is wrong, what it will cost, and the small pure parts (P11, G1, G4)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.config import Settings
from po_jupyter.engine.maps.batches.custom_ids import (
    RequestId,
    custom_id,
    format_spans,
    parse_custom_id,
    parse_spans,
)
from po_jupyter.engine.planning.check import violations
from po_jupyter.engine.planning.estimate import estimate_run
from po_jupyter.engine.replay.spent_from_log import SpentFromLog
from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.parsing import parse_pipeline, validate_pipeline
from po_jupyter.model.run.seed import Seed
from po_jupyter.presentation.estimates import lines_of

TOKEN = "po0123456789abcdef"


def pipeline(**task: Any) -> Any:
    given_ = {"name": "m", "prompt": "x {{ item }}", "for_each": "{{ seed.rows }}", "mode": "batch", **task}
    task_ = {name: value for name, value in given_.items() if value is not None}
    return validate_pipeline(
        {"name": "p", "llm": {"model": "openai:gpt-4o", "max_tokens": 100}, "tasks": [task_]}
    )


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"for_each": None}, "needs `for_each`"),
        ({"prompt": None, "source": "def inference(ctx): pass"}, "is for prompt tasks"),
        ({"prompt": None}, "is for prompt tasks"),
        ({"mode": "bulk"}, "mode"),
        ({"tools": ["files.read"]}, "do not go together"),
        ({"mode": True}, "mode"),
        ({"mode": ["batch"]}, "mode"),
    ],
)
def test_where_it_means_nothing_it_is_an_error(task: dict[str, Any], said: str) -> None:
    """P11."""
    with pytest.raises(InvalidPipeline, match=said):
        pipeline(**task)


def test_the_error_names_the_line() -> None:
    text = "name: p\ntasks:\n  - name: a\n    prompt: x\n    mode: batch\n"
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline(text)
    assert caught.value.violations[0].line in (3, 4, 5)


@pytest.mark.parametrize(
    "model", ["gemini:gemini-2.5-flash", "local:smollm2-135m", "deepseek:deepseek-chat", "fake:echo"]
)
def test_a_provider_without_a_batch_api(model: str) -> None:
    """P11: said before the run starts."""
    (found,) = violations(pipeline(llm={"model": model}))
    assert found.where == "tasks[0].mode"
    assert "anthropic, openai" in found.message and model.partition(":")[0] in found.message
    assert violations(pipeline()) == []


def test_the_estimate_knows_the_half_price() -> None:
    """G1."""
    seed = Seed(name="s", data={"rows": ["a", "b", "c"]})
    batch, single = (
        estimate_run(pipeline(mode=mode), seed, seed.data, settings=Settings()) for mode in ("batch", None)
    )
    assert batch["calls"] == single["calls"] == 3
    assert batch["cost"]["worst"] == pytest.approx(single["cost"]["worst"] / 2)
    assert "half price" in lines_of(batch)[1] and "half price" not in lines_of(single)[1]


@given(st.sets(st.integers(0, 300)))
def test_spans(rows: set[int]) -> None:
    assert list(parse_spans(format_spans(sorted(rows)))) == sorted(rows)


@given(
    st.integers(0, 10**9 - 1),
    st.integers(1, 10**6),
    st.integers(0, 20),
    st.sampled_from(["inference", "critique"]),
)
def test_custom_ids(row: int, attempt: int, round_: int, stage: str) -> None:
    place = RequestId(row, attempt, stage, round_)
    said = custom_id(TOKEN, place)
    assert len(said) <= 64 and set(said) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert parse_custom_id(TOKEN, said) == place
    assert parse_custom_id("po" + "0" * 16, said) is None


@pytest.mark.parametrize(
    "given_",
    [
        "",
        TOKEN,
        f"{TOKEN}-1",
        f"{TOKEN}-1-1-1x",
        f"{TOKEN}--1-1-1i",
        f"{TOKEN}-1-1-1i\n",
        f"{TOKEN}-9999999999-1-1i",
    ],
)
def test_other_peoples_ids(given_: str) -> None:
    """P6: a name that comes back is a name that was given, or nothing."""
    assert parse_custom_id(TOKEN, given_) is None


def _record(day: str, *events: dict[str, Any], calls: tuple[dict[str, Any], ...] = ()) -> Any:
    return {"at": f"{day}T00:00:00Z", "events": list(events), "calls": list(calls), "items": []}


def test_what_a_batch_holds_becomes_what_it_used() -> None:
    """G1: an equal part for each answer, nothing once it is closed."""
    spending = SpentFromLog()
    data = {"token": "t", "count": 4, "reserved": [0.4, 400]}
    spending.apply(_record("2026-11-22", {"type": "batch.prepared", "task": "m", "data": data}))
    assert spending.of_tasks()["m"].tokens == 400
    usage = {"input_tokens": 5, "output_tokens": 5, "cost": 0.01}
    answer = {
        "key": "m/0/101/0/inference/h/0",
        "kind": "response",
        "ok": True,
        "batch": "t",
        "response": {"usage": usage},
    }
    spending.apply(_record("2026-11-23", calls=(answer,)))
    assert spending.of_batch("t").tokens == 300
    assert spending.of_tasks()["m"].tokens == 310
    assert spending.of_day("2026-11-23").tokens == 10 and spending.of_day("2026-11-22").tokens == 300
    spending.apply(_record("2026-11-23", {"type": "batch.closed", "task": "m", "data": {"token": "t"}}))
    assert spending.of_tasks()["m"].tokens == 10 and spending.of_day("2026-11-22").tokens == 0
