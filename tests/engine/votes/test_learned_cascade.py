"""A cascade that learns its threshold: what it asks, what it decides, what a crash and another run leave."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.engine.votes.learned_cascade import confidence_of, sampled_rows
from po_jupyter.llm.chat import ChatRequest
from tests.engine.votes.test_voted_output import SURE, Answers, dies_at, items
from tests.support.engine import RUN, Bench

ROWS = {"rows": [{"n": n} for n in range(100)]}
SAMPLE = 40


def learning(**step: Any) -> dict[str, Any]:
    big = {"model": "fake:big", "target": 0.8, "sample": SAMPLE, "on": "label", **step}
    return {"name": "m", "for_each": "{{ seed.rows }}", "prompt": "{{ item.n }}", "output": SURE,
            "llm": [{"model": "fake:small"}, big]}  # fmt: skip


def reply(request: ChatRequest, nth: int) -> str:
    """The small model is right where it is sure by 0.6 or more: in seven of ten rows."""
    n = int(request.messages[0].content)
    sure = n % 10 / 10
    label = "question" if "small" in request.model and sure < 0.3 else "bug"
    return json.dumps({"label": label, "confidence": sure})


@pytest.mark.parametrize(
    ("confidence", "known"), [(0.5, 0.5), (1, 1.0), (None, None), (True, None), ("0.9", None), (10**400, None)]
)
def test_how_sure_an_answer_is(confidence: Any, known: float | None) -> None:
    """A number of four hundred digits ended the row with a traceback."""
    assert confidence_of({"confidence": confidence}, None) == known


def decisions(bench: Bench) -> list[dict[str, Any]]:
    return [event["data"] for event in bench.events("cascade.learned")]


def counted_alone(bench: Bench) -> int | None:
    """The rows that the first model answered alone, as views count them."""
    counts = read_history(bench.store, bench.run).state.tasks["m"].items
    return counts.alone if counts is not None else None


def unsure(sample: frozenset[int], threshold: float) -> int:
    return sum(n % 10 / 10 < threshold for n in range(100) if n not in sample)


async def test_the_threshold_is_learned_and_the_other_rows_go_by_it(bench: Bench) -> None:
    answers = Answers(bench, reply)
    bench.create([learning()], ROWS)
    assert await bench.go() == "done"
    (decision,) = decisions(bench)
    sample = sampled_rows("m", 100, SAMPLE)
    assert len(sample) == SAMPLE == decision["sampled"]
    assert decision["threshold"] == 0.3
    assert decision["sure"] == decision["agreeing"] == sum(n % 10 >= 3 for n in sample)
    assert decision["interval"][0] >= decision["target"] == 0.8
    assert answers.models.count("fake:small") == 100
    assert answers.models.count("fake:big") == SAMPLE + unsure(sample, 0.3)
    assert all(row["output"]["label"] == "bug" for row in bench.output("m"))
    assert {item["index"] for item in items(bench) if "sampled" in item} == sample
    alone = {item["index"] for item in items(bench) if "alone" in item}
    assert alone == {n for n in range(100) if n not in sample and n % 10 >= 3}
    assert counted_alone(bench) == len(alone)


async def test_where_nothing_can_be_learned_all_rows_are_the_larger_models(bench: Bench) -> None:
    answers = Answers(bench, lambda request, nth: json.dumps({"label": "bug", "confidence": 0.9}
                      if "big" in request.model else {"label": "question", "confidence": 0.9}))  # fmt: skip
    bench.create([learning()], ROWS)
    assert await bench.go() == "done"
    (decision,) = decisions(bench)
    assert (decision["threshold"], decision["agreeing"]) == (None, 0)
    assert answers.models.count("fake:big") == 100
    assert counted_alone(bench) == 0


async def test_few_rows_are_all_in_the_sample(bench: Bench) -> None:
    answers = Answers(bench, reply)
    bench.create([learning()], {"rows": ROWS["rows"][:10]})
    assert await bench.go() == "done"
    assert len(answers.models) == 20
    assert decisions(bench)[0]["sampled"] == 10


async def test_rows_of_the_sample_that_fail_say_nothing(bench: Bench) -> None:
    first = min(sampled_rows("m", 100, SAMPLE))

    def failing(request: ChatRequest, nth: int) -> str:
        is_first = request.messages[0].content == str(first)
        return "no answer" if is_first and "big" in request.model else reply(request, nth)

    Answers(bench, failing)
    bench.create([{**learning(), "refine": {"max_attempts": 0}, "failure_threshold": 0.5}], ROWS)
    assert await bench.go() == "done"
    assert decisions(bench)[0]["sampled"] == SAMPLE - 1


async def test_rows_that_are_asked_again_are_counted_once(bench: Bench) -> None:
    """One of them failed, and one was answered by the first model and is asked of a changed one."""
    fails, sample = True, sampled_rows("m", 100, SAMPLE)
    failing, again = [n for n in range(100) if n not in sample and n % 10 >= 3][:2]

    def answer(request: ChatRequest, nth: int) -> str:
        n = int(request.messages[0].content)
        if fails and n == failing:
            return "no answer"
        unsure = not fails and n == again and "small" in request.model
        return json.dumps({"label": "bug", "confidence": 0.0}) if unsure else reply(request, nth)

    Answers(bench, answer)
    bench.create([{**learning(), "refine": {"max_attempts": 0}, "failure_threshold": 0.5}], ROWS)
    assert await bench.go() == "done"
    alone = counted_alone(bench)
    fails = False
    bench.resume("m", rows={"m": {"rows": f"{failing}", "done": 0, "failed": 1}})
    assert await bench.go() == "done" and counted_alone(bench) == (alone or 0) + 1
    bench.resume("m", rows={"m": {"rows": f"{again}", "done": 1, "failed": 0}})
    assert await bench.go() == "done" and counted_alone(bench) == alone


@pytest.mark.parametrize("at", [5, SAMPLE - 1, SAMPLE + 2])
async def test_a_crash_pays_nothing_twice_and_decides_the_same(bench: Bench, at: int) -> None:
    answers = Answers(bench, reply)
    bench.create([learning()], ROWS)
    await dies_at(bench, lambda request: answers.models.count("fake:big") >= at)
    assert len(decisions(bench)) == (at > SAMPLE)
    assert await bench.go() == "done"
    (decision,) = decisions(bench)
    assert decision["threshold"] == 0.3
    assert (
        len(answers.models)
        == len(set(answers.seen))
        == 100 + SAMPLE + unsure(sampled_rows("m", 100, SAMPLE), 0.3)
    )
    assert read_history(bench.store, RUN).state.tasks["m"].cascade == decision
    assert counted_alone(bench) == 100 - SAMPLE - unsure(sampled_rows("m", 100, SAMPLE), 0.3)


async def test_another_run_of_the_same_learns_from_what_was_paid_for(bench: Bench) -> None:
    answers = Answers(bench, reply)
    bench.create([learning()], ROWS)
    assert await bench.go() == "done"
    asked = len(answers.models)
    bench.run = "0193f00000000000abcdee"
    bench.create([learning()], ROWS)
    assert await bench.go() == "done"
    assert len(answers.models) == asked
    assert [decision["threshold"] for decision in decisions(bench)] == [0.3]
    assert counted_alone(bench) == 100 - SAMPLE - unsure(sampled_rows("m", 100, SAMPLE), 0.3)


def test_a_map_that_starts_over_forgets_its_threshold() -> None:
    learned = {"threshold": 0.3, "target": 0.8, "model": "fake:big", "sampled": 40, "sure": 29, "agreeing": 29}
    events: list[Any] = [
        {"offset": 1, "at": "1", "type": "map.started", "task": "m", "data": {"total": 100}},
        {"offset": 2, "at": "2", "type": "cascade.learned", "task": "m", "data": learned},
        {"offset": 3, "at": "3", "type": "run.resumed", "data": {"reset": ["m"]}},
    ]
    failed_again = fold(RunState("r"), events)
    assert failed_again.tasks["m"].cascade == learned
    over = [{"offset": 4, "at": "4", "type": "run.resumed", "data": {"reset": ["m"], "clear": ["m"]}}]
    assert fold(failed_again, over).tasks["m"].cascade is None


async def test_a_run_with_a_model_of_its_own_learns_nothing(bench: Bench) -> None:
    answers = Answers(bench, reply)
    bench.create([learning()], ROWS, options={"model": "fake:other"})
    assert await bench.go() == "done"
    assert answers.models == ["fake:other"] * 100
    assert decisions(bench) == []


async def test_the_agreement_of_votes_is_a_confidence(bench: Bench) -> None:
    label = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "question"]}}}

    def voting(request: ChatRequest, nth: int) -> str:
        odd = "small" in request.model and int(request.messages[0].content) % 4 == 0
        return json.dumps({"label": ["question", "question", "bug"][nth] if odd else "bug"})

    Answers(bench, voting)
    bench.create([{**learning(), "output": label, "votes": 3}], ROWS)
    assert await bench.go() == "done"
    assert decisions(bench)[0]["threshold"] == 1.0


@given(st.integers(0, 3000), st.integers(20, 300))
def test_a_sample_is_spread_over_the_list(total: int, wanted: int) -> None:
    sample = sampled_rows("m", total, wanted)
    assert len(sample) == min(total, wanted)
    assert sample <= set(range(total))
    if total > wanted:
        assert [n * wanted // total for n in sorted(sample)] == pytest.approx(list(range(wanted)), abs=1)
