"""`confidence: logprobs`: the probability of a label in the output, for cascades, frames and reviews (issue 13, 9)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.engine.planning.check import violations
from po_jupyter.engine.planning.estimate import estimate_run
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.llm.providers.fake import made_logprobs
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.run.usage import Usage
from tests.support.engine import Bench

LABEL = {"type": "object", "required": ["label"], "additionalProperties": False, "properties": {
    "label": {"enum": ["bug", "question"]}, "why": {"type": "string"}}}  # fmt: skip
ROWS = {"rows": [{"text": f"t{i}"} for i in range(10)]}


def labelling(**more: Any) -> dict[str, Any]:
    return {
        "name": "m", "prompt": "Label {{ item.text }}", "for_each": "{{ seed.rows }}", "output": LABEL,
        "confidence": "logprobs", **more,
    }  # fmt: skip


def outputs(bench: Bench) -> list[Any]:
    outcomes = {item["index"]: item for record in bench.records() for item in record["items"]}
    return [bench.store.payload(bench.run, outcomes[n]["output"]) for n in sorted(outcomes)]


class Sure:
    """Answers that are the less sure the later the row; of the big model that all are sure."""

    def __init__(self, bench: Bench) -> None:
        self.models: list[str] = []
        self.asked: list[bool] = []
        bench.fake.chat = self.chat  # type: ignore[method-assign]

    async def chat(self, request: ChatRequest, **more: Any) -> ChatResponse:
        self.models.append(request.model)
        self.asked.append(request.logprobs)
        row = int(request.messages[-1].content.removeprefix("Label t"))
        text = json.dumps({"label": "bug"})
        probability = 0.99 if "big" in request.model else 0.95 - row / 20
        logprobs = made_logprobs(text, probability) if request.logprobs else ()
        return ChatResponse(text, usage=Usage(calls=1, input_tokens=1, cost=0.1), logprobs=logprobs)


@pytest.mark.integration
async def test_each_row_has_the_probability_of_its_label(bench: Bench) -> None:
    bench.create([labelling()], ROWS)
    Sure(bench)
    assert await bench.go() == "done"
    found = [one.value if hasattr(one, "value") else one for one in outputs(bench)]
    assert [one["confidence"] for one in found] == [round(0.95 - n / 20, 6) for n in range(10)]
    assert all(one["label"] == "bug" for one in found)


@pytest.mark.integration
async def test_a_cascade_goes_by_it_and_its_last_model_need_not_give_any(bench: Bench) -> None:
    """Issue 13, 3: the next model only for the rows that need it. 0.80 and more are sure enough: rows 0 to 3."""
    llm = [{"model": "fake:echo"}, {"model": "fake:big", "when": "{{ output.confidence < 0.8 }}"}]
    bench.create([labelling(llm=llm)], ROWS)
    answers = Sure(bench)
    assert await bench.go() == "done"
    assert (answers.models.count("fake:echo"), answers.models.count("fake:big")) == (10, 6)


@pytest.mark.integration
async def test_a_replayed_answer_has_the_same_confidence(bench: Bench) -> None:
    """The log probabilities are in the journal: the row is gone through again without a call."""
    bench.create([labelling()], {"rows": ROWS["rows"][:1]})
    answers = Sure(bench)
    assert await bench.go() == "done"
    (call,) = [c for record in bench.records() for c in record["calls"] if c["kind"] == "response"]
    assert len(answers.models) == 1
    kept = bench.store.payload(bench.run, call["payload"]) if "payload" in call else call
    assert "logprobs" in json.dumps(kept, default=str)


@pytest.mark.integration
async def test_a_server_that_gives_none_leaves_it_unknown(bench: Bench) -> None:
    bench.create([labelling()], {"rows": ROWS["rows"][:1]})
    bench.fake._replies = [json.dumps({"label": "bug"})]

    async def chat(request: ChatRequest, **more: Any) -> ChatResponse:
        return ChatResponse(json.dumps({"label": "bug"}), usage=Usage(calls=1))

    bench.fake.chat = chat  # type: ignore[method-assign]
    assert await bench.go() == "done"
    assert outputs(bench) == [{"label": "bug", "confidence": None}]


def pipeline(**more: Any) -> Any:
    return validate_pipeline({"name": "p", "llm": {"model": "fake:echo"}, "tasks": [labelling(**more)]})


def test_a_model_that_gives_none_is_refused_before_the_run() -> None:
    """P11."""
    (found,) = violations(pipeline(llm={"model": "anthropic:claude-sonnet-4-5"}), Seed(name="s", data=ROWS))
    assert found.where == "tasks[0].confidence"
    assert (
        "anthropic:claude-sonnet-4-5 gives no log probabilities; models that do are, for example"
        in found.message
    )
    when = "{{ output.confidence < 0.8 }}"
    models = [{"model": "openai:gpt-4.1-mini"}, {"model": "anthropic:claude-sonnet-4-5", "when": when}]
    assert not violations(pipeline(llm=models), Seed(name="s", data=ROWS))


def test_the_estimate_knows_the_field_and_later_tasks_may_use_it() -> None:
    tasks = [labelling(), {"name": "sum", "prompt": "{{ tasks.m[0].output.confidence }}"}]
    made = validate_pipeline({"name": "p", "llm": {"model": "fake:echo"}, "tasks": tasks})
    assert not violations(made, Seed(name="s", data=ROWS))
    found = estimate_run(made, Seed(name="s", data=ROWS), ROWS, settings=Settings())
    assert found["calls"] == 11
    assert not found["unknown"]
