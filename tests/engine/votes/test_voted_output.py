"""Votes and cascades in a run: calls, their journal, what a crash leaves, the cost of each row (issue 13, 3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.errors import ModelKeyError, ModelRefused
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.model.run.usage import Usage
from tests.support.engine import Bench

LABEL = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "question"]}}}
SURE = {"type": "object", "required": ["label", "confidence"], "properties": {
    "label": {"enum": ["bug", "question"]}, "confidence": {"type": "number"}}}  # fmt: skip
ROWS = {"rows": [{"text": f"t{i}"} for i in range(3)]}


def voting(**more: Any) -> dict[str, Any]:
    return {"name": "m", "prompt": "Label {{ item.text }}", "for_each": "{{ seed.rows }}", **more}


def items(bench: Bench) -> list[dict[str, Any]]:
    return [item for record in bench.records() for item in record["items"]]


def calls(bench: Bench, kind: str = "intent") -> list[str]:
    return [call["key"] for record in bench.records() for call in record["calls"] if call["kind"] == kind]


class Answers:
    """Answers by a function of the request and of how often that very request came."""

    def __init__(self, bench: Bench, reply: Any) -> None:
        self.seen: dict[str, int] = {}
        self.models: list[str] = []
        self.requests: list[ChatRequest] = []
        self._reply = reply
        bench.fake.chat = self.chat  # type: ignore[method-assign]

    async def chat(self, request: ChatRequest, **more: Any) -> ChatResponse:
        nth = self.seen.get(request.request_hash, 0)
        self.seen[request.request_hash] = nth + 1
        self.models.append(request.model)
        self.requests.append(request)
        text = self._reply(request, nth)
        usage = Usage(calls=1, input_tokens=10, output_tokens=2, cost=0.5 if "big" in request.model else 0.1)
        return ChatResponse(text, usage=usage, model=request.model.partition(":")[2])


async def dies_at(bench: Bench, reached: Callable[[ChatRequest], bool]) -> None:
    """The worker dies while a request for which that holds is on its way, once all before it were answered."""
    chat, there = bench.fake.chat, asyncio.Event()

    async def dying(request: ChatRequest, **more: Any) -> ChatResponse:
        if not reached(request):
            return await chat(request, **more)
        there.set()
        await asyncio.Event().wait()
        raise AssertionError

    bench.fake.chat = dying  # type: ignore[method-assign]
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await asyncio.wait_for(there.wait(), 10)
        await session.log.flush()
        session.log.abandon()
        driving.cancel()
        await asyncio.wait([driving])
    bench.fake.chat = chat  # type: ignore[method-assign]


async def test_the_majority_of_votes_counts(bench: Bench) -> None:
    """bug, bug, question: bug, by 2/3."""
    Answers(bench, lambda request, nth: json.dumps({"label": ["bug", "bug", "question"][nth]}))
    bench.create([voting(votes=3, output=LABEL)], ROWS)
    assert await bench.go() == "done"
    assert [row["output"] for row in bench.output("m")] == [{"label": "bug"}] * 3
    assert [item["votes"] for item in items(bench)] == [{"agreeing": 2, "asked": 3, "n": 3}] * 3
    assert [item["usage"]["calls"] for item in items(bench)] == [3] * 3  # what all votes cost is in the row
    assert sorted(key.rpartition("/")[2] for key in calls(bench)) == sorted("012" * 3)  # the nth of its request


async def test_a_vote_stops_once_no_answer_changes_it(bench: Bench) -> None:
    answers = Answers(bench, lambda request, nth: ["bug", "bug", "question"][nth])
    bench.create([voting(votes={"n": 3, "stop_early": True})], ROWS)
    assert await bench.go() == "done"
    assert len(answers.requests) == 6
    assert [item["votes"] for item in items(bench)] == [{"agreeing": 2, "asked": 2, "n": 3}] * 3


async def test_a_task_without_rows_votes_too(bench: Bench) -> None:
    Answers(bench, lambda request, nth: ["7", "1", "100"][nth])
    bench.create([{"name": "t", "prompt": "How many?", "output": {"type": "integer"}, "votes": 3}])
    assert await bench.go() == "done"
    assert bench.output("t") == 7
    (done,) = bench.events("task.done")
    assert done["data"]["votes"] == {"agreeing": 1, "asked": 3, "n": 3}


async def test_each_vote_is_asked_again_by_itself(bench: Bench) -> None:
    """An answer that does not fit is one vote's, and so are its re-asks."""

    def reply(request: ChatRequest, nth: int) -> str:
        if len(request.messages) > 1:
            return '{"label": "question"}'
        return ["no json", '{"label": "bug"}', '{"label": "bug"}'][nth]

    answers = Answers(bench, reply)
    bench.create([voting(votes=3, output=LABEL)], {"rows": [{"text": "t"}]})
    assert await bench.go() == "done"
    assert bench.output("m")[0]["output"] == {"label": "bug"}
    assert len(answers.requests) == 4


async def test_one_vote_that_comes_to_nothing_leaves_the_others(bench: Bench) -> None:
    def reply(request: ChatRequest, nth: int) -> str:
        if nth == 1:
            raise ModelRefused("not that")
        return "bug"

    Answers(bench, reply)
    bench.create([voting(votes=3)], ROWS)
    assert await bench.go() == "done"
    assert [item["votes"]["agreeing"] for item in items(bench)] == [2] * 3


async def test_votes_without_a_key_end_the_map_and_not_the_row(bench: Bench) -> None:
    def reply(request: ChatRequest, nth: int) -> str:
        raise ModelKeyError("no key")

    Answers(bench, reply)
    bench.create([voting(votes=3)], ROWS)
    assert await bench.go() == "failed"
    assert items(bench) == []


async def test_votes_that_were_answered_are_not_asked_for_again(bench: Bench) -> None:
    """P3: a worker dies in the middle of a vote."""
    answers = Answers(bench, lambda request, nth: "bug")
    bench.create([voting(votes=5)], {"rows": [{"text": "t"}]})
    await dies_at(bench, lambda request: len(answers.requests) == 3)
    assert len(calls(bench, "response")) == 3
    assert await bench.go() == "done"
    assert len(answers.requests) == 5
    assert bench.output("m")[0]["output"] == "bug"


async def test_votes_are_reused_with_their_row(bench: Bench) -> None:
    """Another run of the same pays nothing, and knows how the votes came out."""
    answers = Answers(bench, lambda request, nth: ["bug", "bug", "question"][nth % 3])
    bench.create([voting(votes=3)], ROWS)
    assert await bench.go() == "done"
    bench.run = "0193f00000000000abcde0"
    bench.create([voting(votes=3)], ROWS)
    assert await bench.go() == "done"
    assert len(answers.requests) == 9
    assert [item["votes"]["agreeing"] for item in items(bench)] == [2] * 3
    bench.run = "0193f00000000000abcde1"
    bench.create([voting(votes={"n": 3, "stop_early": True})], ROWS)  # another definition
    assert await bench.go() == "done"
    assert "reused" not in items(bench)[0]


def cascade(when: str | None = "{{ output.confidence < 0.8 }}", **more: Any) -> dict[str, Any]:
    second = {"model": "fake:big", **({"when": when} if when else {})}
    return voting(output=SURE, llm=[{"model": "fake:small"}, second], **more)


async def test_ten_of_a_hundred_unsure_are_110_calls(bench: Bench) -> None:
    """Issue 13, done when 1: priced by the model that was asked."""

    def reply(request: ChatRequest, nth: int) -> str:
        unsure = int(request.messages[-1].content.rpartition("t")[2]) % 10 == 0
        sure = 0.99 if "big" in request.model else 0.5 if unsure else 0.9
        return json.dumps({"label": "question" if "big" in request.model else "bug", "confidence": sure})

    answers = Answers(bench, reply)
    bench.create([cascade()], {"rows": [{"text": f"t{i}"} for i in range(100)]})
    assert await bench.go() == "done"
    assert len(answers.requests) == 110
    assert answers.models.count("fake:big") == 10
    labels = [row["output"]["label"] for row in bench.output("m")]
    assert [i for i, label in enumerate(labels) if label == "question"] == list(range(0, 100, 10))
    calls_of = {item["index"]: item["usage"]["calls"] for item in items(bench)}
    assert [calls_of[i] for i in range(11)] == [2, *[1] * 9, 2]


@pytest.mark.parametrize("failing", ["unreadable", "refused"])
async def test_the_next_model_is_asked_where_an_answer_does_not_do(bench: Bench, failing: str) -> None:
    def reply(request: ChatRequest, nth: int) -> str:
        if "big" in request.model:
            return '{"label": "bug", "confidence": 1}'
        if failing == "refused":
            raise ModelRefused("the prompt is too long for this model")
        return "no json"

    answers = Answers(bench, reply)
    bench.create([cascade(None, refine={"max_attempts": 1})], {"rows": [{"text": "t"}]})
    assert await bench.go() == "done"
    assert answers.models == ["fake:small"] * (1 if failing == "refused" else 2) + ["fake:big"]


async def test_a_wrong_key_is_no_reason_for_another_model(bench: Bench) -> None:
    def reply(request: ChatRequest, nth: int) -> str:
        raise ModelKeyError("no key")

    answers = Answers(bench, reply)
    bench.create([cascade()], {"rows": [{"text": "t"}]})
    assert await bench.go() == "failed"
    assert set(answers.models) == {"fake:small"}


async def test_a_cascade_goes_on_where_it_was(bench: Bench) -> None:
    """P3: the worker dies while the second model is asked."""
    answers = Answers(bench, lambda request, nth: '{"label": "bug", "confidence": 0.1}')
    bench.create([cascade()], {"rows": [{"text": "t"}]})
    await dies_at(bench, lambda request: "big" in request.model)
    assert await bench.go() == "done"
    assert answers.models == ["fake:small", "fake:big"]


async def test_a_run_with_a_model_of_its_own_asks_no_other(bench: Bench) -> None:
    answers = Answers(bench, lambda request, nth: '{"label": "bug", "confidence": 0.1}')
    bench.create([cascade()], ROWS, options={"model": "fake:mine"})
    assert await bench.go() == "done"
    assert answers.models == ["fake:mine"] * 3


async def test_rows_that_only_a_condition_tells_apart_are_not_taken_for_one_another(bench: Bench) -> None:
    """`when` may see more of a row than its prompt does: the key of a row has it too."""
    answers = Answers(bench, lambda request, nth: '{"label": "bug", "confidence": 0.5}')
    task = {**cascade("{{ output.confidence < item.least }}"), "prompt": "Label this"}
    bench.create([task], {"rows": [{"least": 0.1}]})
    assert await bench.go() == "done"
    bench.run = "0193f00000000000abcde0"
    bench.create([task], {"rows": [{"least": 0.9}]})
    assert await bench.go() == "done"
    assert answers.models[-1] == "fake:big"


async def test_votes_of_each_model_of_a_cascade(bench: Bench) -> None:
    def reply(request: ChatRequest, nth: int) -> str:
        return json.dumps({"label": "bug", "confidence": 1.0 if "big" in request.model else 0.1})

    answers = Answers(bench, reply)
    bench.create([cascade(votes={"n": 3, "stop_early": True, "on": "label"})], {"rows": [{"text": "t"}]})
    assert await bench.go() == "done"
    assert answers.models == ["fake:small"] * 2 + ["fake:big"] * 2


async def test_a_drain_ends_a_vote_without_losing_what_is_on_its_way(bench: Bench) -> None:
    """P12: the answers that came are there for the worker that goes on."""
    answers = Answers(bench, lambda request, nth: "bug")
    bench.create([voting(votes=3)], {"rows": [{"text": "t"}]})
    chat = bench.fake.chat

    async def draining(request: ChatRequest, **more: Any) -> ChatResponse:
        bench.session.signals.drain()
        await asyncio.sleep(0)
        return await chat(request, **more)

    bench.fake.chat = draining  # type: ignore[method-assign]
    await bench.go()
    bench.fake.chat = chat  # type: ignore[method-assign]
    before = len(answers.requests)
    assert await bench.go() == "done"
    assert len(answers.requests) == 3
    assert before == len(calls(bench, "response")) - (3 - before)
    assert bench.output("m")[0]["output"] == "bug"


async def test_failed_rows_that_are_asked_for_again_vote_anew(bench: Bench) -> None:
    refuses = [True]

    def reply(request: ChatRequest, nth: int) -> str:
        if refuses[0] and "t1" in request.messages[-1].content:
            raise ModelRefused("not now")
        return "bug"

    answers = Answers(bench, reply)
    bench.create([voting(votes=3, failure_threshold=1)], ROWS)
    assert await bench.go() == "done"
    assert [item["ok"] for item in items(bench)] == [True, False, True]
    refuses[0], before = False, len(answers.requests)
    bench.resume("m")
    assert await bench.go() == "done"
    assert len(answers.requests) == before + 3
    assert all(row["ok"] for row in bench.output("m"))


async def test_a_budget_that_is_used_up_ends_the_vote_and_keeps_the_row_open(bench: Bench) -> None:
    answers = Answers(bench, lambda request, nth: "bug")
    bench.create([voting(votes=3, llm={"max_tokens": 20})], ROWS, budget={"tokens": 60})
    assert await bench.go() == "failed"
    assert bench.state.error is not None
    assert bench.state.error["code"] == "budget_exceeded"
    assert len(answers.requests) < 9
    assert all(item["ok"] for item in items(bench))


async def test_a_model_without_probabilities_is_unsure(bench: Bench) -> None:
    """Its rows failed: the condition could not compare a confidence of null."""
    chat = bench.fake.chat

    async def without(request: ChatRequest, **more: Any) -> Any:
        response = await chat(request, **more)
        return replace(response, logprobs=()) if "0.6" in request.model_name else response

    bench.fake.chat = without
    models: list[dict[str, Any]] = [
        {"model": "fake:echo?confidence=0.6"},
        {"model": "fake:echo?confidence=0.9"},
    ]
    models[1]["when"] = "{{ output.confidence < 0.8 }}"
    output = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "question"]}}}
    fields = {"prompt": "Label {{ item }}", "output": output, "confidence": "logprobs", "llm": models}
    bench.create([{"name": "label", "for_each": "{{ seed.rows }}", **fields}], {"rows": [1, 2]})
    assert await bench.go() == "done"
    assert [row["output"]["confidence"] for row in bench.output("label")] == [0.9, 0.9]
    assert len(calls(bench, "response")) == 4
