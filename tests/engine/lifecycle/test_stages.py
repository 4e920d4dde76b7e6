"""The stages of one attempt (B1-B3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from po_jupyter.engine.lifecycle.frame import Flags, Frame, StageResult
from po_jupyter.engine.lifecycle.stages import run_stages
from po_jupyter.errors import (
    AnswerUnreadable,
    ModelRefused,
    OutputInvalid,
    PoError,
    StageFailed,
    StageTimeout,
)
from po_jupyter.model.pipeline.pipeline import STAGES, Refine, Task

TASK = Task(name="t", source="x = 1")


async def run(
    stages: dict[str, Callable[[Frame], Any]], *, refinements: int = 2, seconds: float = 5.0
) -> tuple[Any, Frame, list[tuple[str, int]]]:
    frame = Frame(TASK.model_copy(update={"refine": Refine(max_attempts=refinements)}))
    seen: list[tuple[str, int]] = []
    output = await run_stages(stages, frame, seconds=seconds, on_stage=lambda s, r: seen.append((s, r)))
    return output, frame, seen


def say(value: Any) -> Callable[[Frame], Any]:
    return lambda frame: value


def fail(error: Exception) -> Callable[[Frame], Any]:
    def stage(frame: Frame) -> Any:
        raise error

    return stage


async def test_stages_run_in_their_order_and_missing_ones_are_skipped() -> None:
    """B1: all eleven, critique and refine only after a failed validation."""
    stages = {name: say(name) for name in STAGES}
    output, _, seen = await run(stages)
    assert [s for s, _ in seen] == [s for s in STAGES if s not in ("critique", "refine")]
    assert output == "integration"
    output, _, seen = await run({"integration": say(1), "ingestion": say(0)})
    assert (output, [s for s, _ in seen]) == (1, ["ingestion", "integration"])
    assert (await run({"validate_quality": say(None)}))[0] is None


async def test_validations_and_none_do_not_replace_the_output() -> None:
    """B3"""
    output, frame, _ = await run(
        {
            "inference": say({"a": 1}),
            "validate_structure": say(True),
            "validate_quality": say({"score": 9}),
            "final_validation": say("fine"),
            "integration": say(None),
        }
    )
    assert output == {"a": 1}
    assert frame.data == {"inference": {"a": 1}, "integration": None}
    assert (await run({"ingestion": say(1), "integration": say(StageResult(None))}))[0] is None


class Quality:
    """Fails `times` times."""

    def __init__(self, times: int, how: Any) -> None:
        self.left, self.how = times, how

    def __call__(self, frame: Frame) -> Any:
        self.left -= 1
        if self.left < 0:
            return None
        if isinstance(self.how, Exception):
            raise self.how
        return self.how


class ValidationError(Exception):
    __module__ = "jsonschema.exceptions"


FAILURES = [
    False,
    StageResult(flags={"needs_refinement": True}),
    OutputInvalid("bad", details={"violations": ["one", "two"]}),
    AnswerUnreadable("no json"),
    AssertionError("too short"),
    ValidationError("foreign"),
]


@pytest.mark.parametrize("how", FAILURES, ids=lambda h: type(h).__name__)
@pytest.mark.parametrize("stage", ["validate_structure", "validate_quality"])
async def test_a_failed_validation_is_refined_and_checked_again(how: Any, stage: str) -> None:
    """B2: critique, refine, prompt_templating .. validation again; ingestion and pre_processing only once."""
    stages = {name: say(name) for name in STAGES}
    stages[stage] = Quality(2, how)
    output, _, seen = await run(stages)
    assert output == "integration"
    rounds = [r for s, r in seen if s == "inference"]
    assert rounds == [0, 1, 2]
    assert [s for s, _ in seen].count("ingestion") == 1
    assert [s for s, _ in seen].count("pre_processing") == 1
    assert [(s, r) for s, r in seen if s in ("critique", "refine")] == [
        ("critique", 0),
        ("refine", 0),
        ("critique", 1),
        ("refine", 1),
    ]


@pytest.mark.parametrize("how", FAILURES, ids=lambda h: type(h).__name__)
async def test_the_last_refinement_is_the_last(how: Any) -> None:
    """B2: `max_attempts` re-asks, then OutputInvalid that says so."""
    with pytest.raises(OutputInvalid) as caught:
        await run({"inference": say(1), "validate_structure": Quality(9, how)})
    assert "asked 3 times" in caught.value.message
    assert caught.value.details["rounds"] == 3
    assert caught.value.details["stage"] == "validate_structure"
    assert caught.value.details["previous_stage"] == "inference"


async def test_zero_refinements_ask_once() -> None:
    with pytest.raises(OutputInvalid) as caught:
        await run({"inference": say(1), "validate_quality": say(False)}, refinements=0)
    assert "asked" not in caught.value.message


async def test_nothing_that_could_change_is_not_repeated() -> None:
    with pytest.raises(OutputInvalid) as caught:
        await run({"ingestion": say(1), "validate_quality": say(False)})
    assert caught.value.details["rounds"] == 1


async def test_violations_reach_critique_and_refine() -> None:
    seen: list[list[str]] = []

    def refine(frame: Frame) -> Any:
        seen.append(list(frame.violations))
        return {"better": True}

    bad = OutputInvalid("x", details={"violations": ["one", "two"]})
    output, _, _ = await run({"refine": refine, "validate_quality": Quality(1, bad)})
    assert seen == [["one", "two"]]
    assert output == {"better": True}


async def test_an_unreadable_answer_is_asked_again() -> None:
    """errors.AnswerUnreadable: re-asked."""
    output, _, seen = await run({"inference": say("?"), "parsing": Quality(1, AnswerUnreadable("no JSON"))})
    assert [s for s, _ in seen].count("inference") == 2
    assert output == "?"


async def test_final_validation_is_final() -> None:
    with pytest.raises(OutputInvalid) as caught:
        await run({"inference": say(1), "final_validation": say(False)})
    assert caught.value.details["stage"] == "final_validation"


async def test_other_errors_in_a_validation_are_errors() -> None:
    with pytest.raises(StageFailed) as caught:
        await run({"inference": say(1), "validate_quality": fail(KeyError("typo"))})
    assert "KeyError: 'typo'" in caught.value.message


async def test_errors_of_ours_keep_their_type_and_gain_their_place() -> None:
    with pytest.raises(ModelRefused) as caught:
        await run({"ingestion": say(1), "inference": fail(ModelRefused("400"))})
    details = dict(caught.value.details)
    assert "raise error" in details.pop("traceback"), "the stage's own lines"
    assert details == {"task": "t", "stage": "inference", "attempt": 1, "previous_stage": "ingestion"}


async def test_a_stage_that_takes_too_long_times_out() -> None:
    async def slow(frame: Frame) -> None:
        await asyncio.sleep(60)

    with pytest.raises(StageTimeout) as caught:
        await run({"inference": slow}, seconds=0.02)
    assert "0.02 s" in caught.value.message


async def test_a_timeout_of_the_users_own_is_a_failure_of_the_stage() -> None:
    async def own(frame: Frame) -> None:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(60)

    with pytest.raises(StageFailed) as caught:
        await run({"inference": own})
    assert "TimeoutError" in caught.value.message


async def test_a_wait_for_a_rate_limit_does_not_count() -> None:
    """DESIGN 7: `timeout` is without such waits."""

    async def limited(frame: Frame) -> str:
        frame.extend(10)
        await asyncio.sleep(0.05)
        return "late"

    assert (await run({"inference": limited}, seconds=0.02))[0] == "late"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": {1, 2}}, "at a: a set"),
        ([1, object()], "at [1]: a object"),
        ({"a": [{"b": b"x"}]}, "at a[0].b: a bytes"),
        ({(1, 2): 3}, "the key (1, 2) is tuple"),
        ({1: 2, "1": 3}, "two of its keys are '1'"),
        ({"a": 10**6000}, "at a: an integer of more than 4,000 digits"),
        ({"a": ["\ud800"]}, "at a[0]: half a surrogate pair"),
        ({"\ud800": 1}, "half a surrogate pair"),
        ({"a": float("inf")}, "at a: inf"),
    ],
)
async def test_a_stage_returns_json(value: Any, said: str) -> None:
    """P4: the type and the path are named, and it is not tried again."""
    with pytest.raises(StageFailed) as caught:
        await run({"integration": say(value)})
    assert said in caught.value.message
    assert caught.value.details["permanent"]


async def test_what_json_would_change_is_changed_at_once() -> None:
    """The next task sees now what it would see after a crash."""
    import enum

    class Color(enum.StrEnum):
        RED = "red"

    class Count(int):
        pass

    output, _, _ = await run({"integration": say({"a": (1, 2), "b": Color.RED, "c": Count(3)})})
    assert output == {"a": [1, 2], "b": "red", "c": 3}
    assert type(output["b"]) is str
    assert type(output["c"]) is int


async def test_too_deep_a_value_is_refused() -> None:
    value: Any = []
    for _ in range(200):
        value = [value]
    with pytest.raises(StageFailed, match="nested deeper"):
        await run({"integration": say(value)})


def test_a_flag_never_changes_its_type() -> None:
    """B3"""
    flags = Flags()
    flags["n"] = None
    flags["n"] = 1
    flags.update(n=2, ok=True)
    with pytest.raises(StageFailed, match="'n' is int"):
        flags["n"] = "two"
    with pytest.raises(StageFailed):
        flags.update(ok=1)
    assert flags.setdefault("n", 9) == 2
    assert flags == {"n": 2, "ok": True}


async def test_a_flag_of_another_type_fails_the_stage() -> None:
    with pytest.raises(PoError) as caught:
        await run({"ingestion": say(StageResult(1, {"f": 1})), "inference": say(StageResult(1, {"f": "x"}))})
    assert isinstance(caught.value, StageFailed)
    assert caught.value.details["stage"] == "inference"


async def test_a_stop_is_not_an_error_of_the_stage() -> None:
    from po_jupyter.engine.base.interrupts import Drained

    frame = Frame(TASK)

    def boundary() -> None:
        if frame.data:
            raise Drained

    with pytest.raises(Drained):
        await run_stages({"ingestion": say(1), "inference": say(2)}, frame, seconds=1, boundary=boundary)
    assert frame.data == {"ingestion": 1}
