"""G1: hard budgets of a run."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.engine.budgets.account import Account
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.planning.check import check
from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.state.run_state import run_view_of
from po_jupyter.errors import BudgetExceeded, InvalidPipeline
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.run.usage import Usage
from tests.support.engine import Bench


def request(chars: int = 40, answer: int = 100, model: str = "openai:gpt-4o-mini") -> ChatRequest:
    return ChatRequest(model, (Message("user", "x" * chars),), max_tokens=answer)


async def test_the_worst_case_is_set_aside_before_the_call() -> None:
    budget = BudgetGuard(Account("run", BudgetLimits(tokens=300)))
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
    budget = BudgetGuard(Account("run", BudgetLimits(usd=0.0001), Amount(0.00009)))
    with pytest.raises(BudgetExceeded, match="spent"):
        await budget.reserve(request())
    with pytest.raises(BudgetExceeded, match="unknown"):
        await BudgetGuard(Account("run", BudgetLimits(usd=1))).reserve(request(model="openai:no-such-model"))


async def test_local_models_are_free() -> None:
    await BudgetGuard(Account("run", BudgetLimits(usd=0.0001))).reserve(
        request(model="fake:echo", answer=10**6)
    )


async def test_a_run_stops_at_its_budget_keeps_what_is_done_and_resumes_with_more(bench: Bench) -> None:
    """DESIGN 7, Ends: failed with budget_exceeded; P12."""
    task = {"name": "m", "prompt": "row {{ item }}", "for_each": "range(30)", "max_concurrency": 3}
    bench.create([task], budget={"tokens": 300}, llm={"model": "fake:echo", "max_tokens": 50})
    assert await bench.go() == "failed"
    error = bench.state.error
    assert error is not None
    assert error["code"] == "budget_exceeded"
    usage = bench.state.usage
    assert usage.input_tokens + usage.output_tokens <= 300
    done = sum(r.ok for r in bench.session.history.table("m").values())
    assert 0 < done < 30
    assert all(r.ok for r in bench.session.history.table("m").values()), "no row is blamed for the budget"
    assert "task.retrying" not in bench.types()
    bench.resume("m", budget={"tokens": 10_000})
    assert await bench.go() == "done"
    assert len(bench.fake.requests) == 30
    assert all(r["ok"] for r in bench.output("m"))


async def test_what_was_used_before_a_crash_counts(bench: Bench) -> None:
    bench.create(
        [{"name": "a", "prompt": "a"}, {"name": "b", "prompt": "b", "gate": "x"}, {"name": "c", "prompt": "c"}],
        budget={"tokens": 185},
        llm={"model": "fake:echo", "max_tokens": 160},
    )
    assert await bench.go() == "waiting"
    bench.store.request(
        bench.run, [draft("gate.decided", "b", decision="approve"), draft("run.resumed")], state="pending"
    )
    assert await bench.go() == "failed"
    assert len(bench.fake.requests) == 2


async def test_at_80_percent_a_person_is_warned_once_and_after_a_crash_not_again(bench: Bench) -> None:
    """G1: a warning at 80 %, in the log, the state and the view."""
    task = {"name": "m", "prompt": "row {{ item }}", "for_each": "range(11)", "max_concurrency": 1}
    bench.create(
        [task | {"gate": "ok?"}, {"name": "z", "prompt": "z"}],
        budget={"tokens": 150},
        llm={"model": "fake:echo", "max_tokens": 20},
    )
    assert await bench.go() == "waiting"
    (said,) = bench.events("budget.warning")
    assert said["data"]["scope"] == "run"
    assert 0.8 <= said["data"]["fraction"] <= 1
    assert "task" not in said
    (shown,) = run_view_of(bench.state, {}).warnings
    assert shown["budget"]["tokens"] == 150
    bench.store.request(
        bench.run, [draft("gate.decided", "m", decision="approve"), draft("run.resumed")], state="pending"
    )
    await bench.go()
    assert len(bench.events("budget.warning")) == 1


async def test_a_task_has_a_budget_of_its_own_within_the_run(bench: Bench) -> None:
    """G1: per map; the other branch goes on, the run is failed, a resume takes more for that task."""
    rows = {"name": "m", "prompt": "row {{ item }}", "for_each": "range(30)", "budget": {"tokens": 300}}
    bench.create(
        [rows, {"name": "other", "prompt": "x", "needs": []}], llm={"model": "fake:echo", "max_tokens": 50}
    )
    assert await bench.go() == "failed"
    state = bench.state
    assert state.error is not None
    assert state.error["code"] == "budget_exceeded"
    assert "task 'm'" in state.error["message"]
    assert "--budget m=N" in state.error["hint"]
    assert state.tasks["other"].state == "done"
    bench.resume("m", budget={"tasks": {"m": {"tokens": 100_000}}})
    assert await bench.go() == "done"


async def test_a_lost_call_stays_counted_at_its_worst_case(bench: Bench) -> None:
    """P3: an unknown outcome is counted in the budget, also by the worker that goes on."""
    bench.create(
        [{"name": "a", "prompt": "a"}], budget={"tokens": 250}, llm={"model": "fake:echo", "max_tokens": 100}
    )
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
    bench.fake.hold = False
    for lost in (1, 2):
        async with bench.worker() as session:
            spent = session.history.spent.of_tasks()["a"].tokens
            assert 100 * lost < spent < 120 * lost
            if lost == 1:
                bench.fake.hold = True
                bench.fake.waiting.clear()
                driving = asyncio.ensure_future(RunExecutor(session).run())
                await bench.fake.waiting.wait()
                driving.cancel()
                await asyncio.gather(driving, return_exceptions=True)
                bench.fake.hold = False
            else:
                assert await RunExecutor(session).run() == "failed", "two lost calls and a third do not fit"
    assert bench.fake.answered == []


async def test_the_last_try_of_a_call_is_as_lost_as_those_before_it() -> None:
    """What is used and what is only reserved are told apart, as in the line of the run, which counts it as unknown."""
    budget = BudgetGuard(Account("run", BudgetLimits(tokens=300)))
    hold = await budget.renew(await budget.reserve(request()), None)
    budget.settle(hold, Usage(calls=1, unknown=1))
    account = hold.accounts[0]
    assert (account.lost.calls, account.lost.amount) == (2, account.used)
    assert "is spent: 0 used, " in account.exceeded(hold.worst).message
    assert "for 2 calls of unknown outcome" in account.exceeded(hold.worst).message
    budget = BudgetGuard(Account("run", BudgetLimits(tokens=500)))
    first = Usage(calls=1, unknown=1)  # a try that said so
    hold = await budget.renew(await budget.reserve(request()), first)
    answered = Usage(input_tokens=10, output_tokens=5, calls=1, unknown=1)
    budget.settle(hold, answered, before=hold.worst)
    account = hold.accounts[0]
    assert (account.lost.calls, account.used.tokens - account.lost.amount.tokens) == (1, 15)


async def test_who_waits_is_served_in_order_and_may_give_up() -> None:
    """A large call is not starved by small ones; one that is cancelled leaves nothing behind."""
    budget = BudgetGuard(account := Account("run", BudgetLimits(tokens=400)))
    first = await budget.reserve(request(answer=200))
    large = asyncio.ensure_future(budget.reserve(request(answer=300)))
    small = asyncio.ensure_future(budget.reserve(request(answer=10)))
    await asyncio.sleep(0)
    assert not small.done()
    large.cancel()
    await asyncio.gather(large, return_exceptions=True)
    budget.settle(first, Usage())
    budget.settle(await small, Usage())
    assert account.reserved == Amount()
    assert account.holds == 0


@given(
    st.lists(
        st.tuples(st.integers(1, 120), st.integers(0, 100), st.booleans(), st.integers(0, 3)), max_size=40
    ),
    st.integers(50, 2000),
)
def test_a_budget_is_never_exceeded_in_any_order(calls: list[tuple[int, int, bool, int]], limit: int) -> None:
    """G1: whatever calls use up to their worst case, and in whatever order they end, the limit holds."""

    async def go() -> None:
        account = Account("run", BudgetLimits(tokens=limit))
        budget = BudgetGuard(account)
        used = 0

        async def one(answer: int, percent: int, known: bool, pause: int) -> None:
            nonlocal used
            try:
                hold = await budget.reserve(request(chars=4, answer=answer, model="fake:x"))
            except BudgetExceeded:
                return
            assert account.used.tokens + account.reserved.tokens <= limit
            for _ in range(pause):
                await asyncio.sleep(0)
            tokens = hold.worst.tokens * percent // 100 if known else hold.worst.tokens
            used += tokens
            budget.settle(hold, Usage(output_tokens=tokens, calls=1) if known else None)

        await asyncio.wait_for(asyncio.gather(*(one(*call) for call in calls)), 5)
        assert used == account.used.tokens <= limit
        assert account.reserved == Amount()

    asyncio.run(go())


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
    checked = validate_pipeline({"name": "p", "tasks": [{"name": "a", "prompt": "x"}], **pipeline})
    with pytest.raises(InvalidPipeline) as caught:
        check(checked, Seed(name="s", data={}))
    assert said in str(caught.value)
    assert len(caught.value.violations) == 1


def test_what_is_right_passes() -> None:
    check(
        validate_pipeline(
            {"name": "p", "budget": {"usd": 1}, "tasks": [{"name": "a", "prompt": "x"}, "module"]}
        )
    )
