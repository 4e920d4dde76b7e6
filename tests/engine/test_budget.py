"""G1: hard budgets of a run."""

from __future__ import annotations

import asyncio

import pytest
from engine_harness import Bench

from po_jupyter.engine.budget import Budget
from po_jupyter.engine.check import check
from po_jupyter.errors import BudgetExceeded, InvalidPipeline
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.model.reading import check_pipeline
from po_jupyter.model.seed import Seed
from po_jupyter.model.usage import Usage


def request(chars: int = 40, answer: int = 100, model: str = "openai:gpt-4o-mini") -> ChatRequest:
    return ChatRequest(model, (Message("user", "x" * chars),), max_tokens=answer)


async def test_the_worst_case_is_set_aside_before_the_call() -> None:
    budget = Budget({"tokens": 300}, Usage())
    number = await budget.reserve(request())
    with_one = asyncio.ensure_future(budget.reserve(request()))
    two = asyncio.ensure_future(budget.reserve(request(answer=200)))
    await asyncio.sleep(0)
    assert with_one.done()
    assert not two.done(), "it waits for the others: reservations shrink concurrency first"
    budget.settle(number, Usage(input_tokens=10, output_tokens=5, calls=1))
    budget.settle(await with_one, Usage(input_tokens=10, output_tokens=5, calls=1))
    await two
    budget.settle(two.result(), None)
    with pytest.raises(BudgetExceeded) as caught:
        await budget.reserve(request())
    assert "tokens is spent" in caught.value.message
    assert "--budget" in caught.value.hint


async def test_dollars_and_unknown_prices() -> None:
    budget = Budget({"usd": 0.0001}, Usage(cost=0.00009))
    with pytest.raises(BudgetExceeded, match="spent"):
        await budget.reserve(request())
    with pytest.raises(BudgetExceeded, match="unknown"):
        await Budget({"usd": 1}, Usage()).reserve(request(model="openai:no-such-model"))


async def test_local_models_are_free() -> None:
    await Budget({"usd": 0.0001}, Usage()).reserve(request(model="fake:echo", answer=10**6))


async def test_a_run_stops_at_its_budget_keeps_what_is_done_and_resumes_with_more(bench: Bench) -> None:
    """DESIGN 7, Ends: failed with budget_exceeded; P12."""
    task = {"name": "m", "prompt": "row {{ item }}", "for_each": "range(30)", "max_concurrency": 3}
    bench.create([task], budget={"tokens": 300}, llm={"model": "fake:echo", "max_tokens": 50})
    assert await bench.go() == "failed"
    error = bench.work.state.error
    assert error is not None
    assert error["code"] == "budget_exceeded"
    usage = bench.work.state.usage
    assert usage.input_tokens + usage.output_tokens <= 300
    done = sum(r.ok for r in bench.work.rows("m").values())
    assert 0 < done < 30
    assert all(r.ok for r in bench.work.rows("m").values()), "no row is blamed for the budget"
    assert "task.retrying" not in bench.types()
    bench.resume("m", budget={"tokens": 10_000})
    assert await bench.go() == "done"
    assert len(bench.fake.requests) == 30
    assert all(r["ok"] for r in bench.work.output("m"))


async def test_what_was_used_before_a_crash_counts(bench: Bench) -> None:
    bench.create(
        [{"name": "a", "prompt": "a"}, {"name": "b", "prompt": "b", "gate": "x"}, {"name": "c", "prompt": "c"}],
        budget={"tokens": 185},
        llm={"model": "fake:echo", "max_tokens": 160},
    )
    assert await bench.go() == "waiting"
    from po_jupyter.model.event import draft

    bench.store.request(
        bench.run, [draft("gate.decided", "b", decision="approve"), draft("run.resumed")], state="pending"
    )
    assert await bench.go() == "failed"
    assert len(bench.fake.requests) == 2


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        (
            {"budget": {"usd": 1}, "llm": {"model": "openai:no-such-model"}},
            "price of openai:no-such-model is unknown",
        ),
        ({"llm": {"model": "openia:gpt-4o"}}, "did you mean `openai`?"),
        (
            {"tasks": [{"name": "a", "prompt": "x", "llm": {"model": "nope:x"}}]},
            "task 'a': no provider is called",
        ),
        ({"tasks": [{"name": "a", "source": "x = 1\nreturn 2\n"}]}, "does not compile"),
        ({"tasks": [{"name": "a", "prompt": "{{ seed.x }}"}]}, "has no `x`"),
    ],
)
def test_what_is_refused_before_a_run(pipeline: dict[str, object], said: str) -> None:
    """P11, Done when 8: one clear message with its place, and nothing is started."""
    checked = check_pipeline({"name": "p", "tasks": [{"name": "a", "prompt": "x"}], **pipeline})
    with pytest.raises(InvalidPipeline) as caught:
        check(checked, Seed(name="s", data={}))
    assert said in str(caught.value)
    assert len(caught.value.violations) == 1


def test_what_is_right_passes() -> None:
    check(
        check_pipeline({"name": "p", "budget": {"usd": 1}, "tasks": [{"name": "a", "prompt": "x"}, "module"]})
    )
