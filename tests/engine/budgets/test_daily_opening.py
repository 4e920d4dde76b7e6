"""A limit that is set in the middle of a day counts what was spent on that day before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.budgets import daily_ledger as ledger
from po_jupyter.engine.budgets.daily_opening import open_ledger
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.replay.spent_from_log import Amount, spent_on_day
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit
from tests.support.engine import RUN, Bench, new_run
from tests.support.shards import Family

FIRST = RUN[:-1] + "0"
ROWS = {"name": "m", "prompt": "row {{ item }}", "for_each": "range(20)", "max_concurrency": 1}
LLM = {"llm": {"model": "fake:echo", "max_tokens": 50}}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def today(bench: Bench) -> str:
    return str(bench.records()[0]["at"][:10])


def tokens(bench: Bench) -> int:
    return bench.state.usage.input_tokens + bench.state.usage.output_tokens


async def earlier_run(bench: Bench, run: str = FIRST) -> int:
    """A run without a limit; the tokens that it used."""
    bench.run = run
    bench.create([ROWS], **LLM)
    assert await bench.go() == "done"
    return tokens(bench)


async def test_what_was_spent_before_the_limit_counts_and_the_message_says_so(bench: Bench) -> None:
    spent = await earlier_run(bench)
    bench.run, bench.settings = RUN, {"daily_tokens": spent + 100}
    bench.create([{**ROWS, "prompt": "another {{ item }}"}], **LLM)
    assert await bench.go() == "failed"
    assert bench.state.error is not None
    assert spent < spent + tokens(bench) <= spent + 100
    known = spent + tokens(bench)
    assert f"{known:,} used since 00:00 UTC by all of me's runs" in bench.state.error["message"]


async def test_what_the_run_itself_spent_before_the_limit_counts_once(bench: Bench) -> None:
    bench.create([{"name": "a", "prompt": "x"}, {"name": "b", "prompt": "y"}], **LLM)
    assert await bench.go() == "done"
    spent = tokens(bench)
    bench.resume("b", clear=["b"])
    bench.settings = {"daily_tokens": 10_000}
    assert await bench.go() == "done"
    (name,) = bench.store.names(ledger.KIND)
    document = bench.store.get(ledger.KIND, name)
    assert document["ended"]["tokens"] > spent
    assert document == {"ended": document["ended"], "runs": {}}
    again = open_ledger(bench.store, "me", today(bench))
    assert again == document, "nothing is counted twice"


async def test_a_deleted_run_counts(bench: Bench) -> None:
    spent = await earlier_run(bench)
    DailyUsage(bench.store).count([bench.store.head(FIRST)])
    day = today(bench)
    bench.store.delete_run(FIRST)
    opened = open_ledger(bench.store, "me", day)
    assert opened is not None and opened["ended"]["tokens"] == spent


async def test_other_days_and_other_people_do_not_count(bench: Bench) -> None:
    await earlier_run(bench)
    assert open_ledger(bench.store, "somebody", today(bench)) is None
    assert open_ledger(bench.store, "me", "2031-01-01") is None


async def test_a_run_whose_worker_knows_no_limit_is_followed(tmp_path: Path) -> None:
    """It was started before the limit: what it spends from then on is in the sum that the next run begins with."""
    store = MemoryStore()
    new_run(store, {"name": "p", "tasks": [{"name": "a", "prompt": "x"}]}, {}, FIRST)
    lease = store.claim(FIRST, {"pid": 1})

    def spend(nth: int) -> None:
        key = f"a/-/1/0/inference/h/{nth}"
        usage: Any = {"input_tokens": 30, "output_tokens": 20, "cost": 0.0, "calls": 1}
        end = {"key": key, "kind": "response", "ok": True, "response": {"usage": usage}, "answer": 0}
        store.commit(lease, Commit(calls=[{"key": key, "kind": "intent"}, end], payloads=["x"]))

    spend(0)
    day = str(next(iter(store.records(FIRST)))["at"][:10])
    opened = open_ledger(store, "me", day)
    assert opened is not None and ledger.used(opened) == Amount(0.0, 50)
    spend(1)
    assert ledger.used(open_ledger(store, "me", day)) == Amount(0.0, 100)


async def test_calls_of_child_runs_count_once_for_the_day(tmp_path: Path) -> None:
    """They are in their own logs, and in that of the whole."""
    family = Family(tmp_path)
    rows = {**ROWS, "for_each": "range(6)", "shards": 2}
    family.create([{"name": "a", "prompt": "x"}, rows], **LLM)
    assert await family.go() == "done"
    used, day = tokens(family), today(family)
    one, other = family.children()
    each = [spent_on_day(family.store, run, day).tokens for run in (family.run, one, other)]
    assert sum(each) == used
    opened = open_ledger(family.store, "me", day)
    assert opened is not None and opened["ended"]["tokens"] == used


async def test_what_a_child_run_spent_counts_before_the_whole_has_it(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.create([{**ROWS, "for_each": "range(6)", "shards": 2}], **LLM)
    family.alone, family.drains_at = True, 2
    assert await family.go() == "released"
    child = family.children()[0]
    assert await family.work_off(child) == "done"
    used = read_history(family.store, child).state.usage
    opened = open_ledger(family.store, "me", today(family))
    assert opened is not None and opened["ended"]["tokens"] == used.input_tokens + used.output_tokens
