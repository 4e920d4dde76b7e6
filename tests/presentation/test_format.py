"""Numbers that people read are never wrong by rounding (DESIGN section 8)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.model.run.usage import Usage
from po_jupyter.model.run.view import ItemCounts, TaskView
from po_jupyter.presentation import format as fmt
from tests.support.runs import run_view


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (None, "cost unknown"),
        (0.0, "$0"),
        (0.00004, "<$0.0001"),
        (0.0001, "$0.0001"),
        (0.00043, "$0.00043"),
        (0.0043, "$0.0043"),
        (0.043, "$0.043"),
        (0.4321, "$0.432"),
        (0.9999, "$1.00"),
        (2.0, "$2.00"),
        (1234.5, "$1,234.50"),
    ],
)
def test_money(cost: float | None, text: str) -> None:
    assert fmt.money(cost) == text


@given(st.floats(min_value=1e-12, max_value=1e7))
def test_money_is_never_rounded_to_zero(cost: float) -> None:
    text = fmt.money(cost)
    number = float(text.lstrip("<$").replace(",", ""))
    assert number > 0
    assert text.startswith("<") or abs(number - cost) <= max(0.06 * cost, 0.005 if cost >= 1 else 0.0)


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0"),
        (812, "812"),
        (999, "999"),
        (1000, "1.0k"),
        (18_204, "18.2k"),
        (99_949, "99.9k"),
        (99_950, "100k"),
        (412_000, "412k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (1_234_567, "1.23M"),
    ],
)
def test_tokens(n: int, text: str) -> None:
    assert fmt.tokens(n) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00"),
        (41.9, "00:41"),
        (3599, "59:59"),
        (3723, "1:02:03"),
        (176_523, "2 d 01:02:03"),
        (-3, "00:00"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert fmt.duration(seconds) == text


def test_took_is_exact_below_a_minute() -> None:
    assert [fmt.elapsed(s) for s in (0.04, 12.14, 59.94, 59.96, 61)] == [
        "0.0 s",
        "12.1 s",
        "59.9 s",
        "01:00",
        "01:01",
    ]


@given(st.floats(min_value=0, max_value=1))
def test_only_the_whole_is_a_full_bar(fraction: float) -> None:
    drawn, said = fmt.bar(fraction), fmt.percent(fraction)
    assert len(drawn) == 16
    assert ("░" not in drawn) == (fraction == 1) == (said == "100 %")
    assert ("█" not in drawn) == (fraction == 0) == (said == "0 %")


NOW = fmt.timestamp("2026-11-22T12:00:41.500Z")


def test_the_headline_of_the_sketch() -> None:
    run = run_view(
        tasks=(
            TaskView(name="extract", state="done", kind="python"),
            TaskView(name="classify", state="running"),
            TaskView(name="publish"),
        ),
        usage=Usage(input_tokens=18_000, output_tokens=204, cost=0.043, calls=412),
        budget={"usd": 2.0},
    )
    assert " · ".join(fmt.headline(run, NOW)) == (
        "tickets 1.0.0 · run 7f3a9c · running · task 2 of 3 · 00:41 · 18.2k tokens · $0.043 of $2.00"
    )


def test_the_clock_of_an_ended_run_stands_still() -> None:
    assert "00:20" in fmt.headline(run_view(state="failed"), NOW)


def test_a_map_says_rows_failures_and_flight() -> None:
    line = fmt.task_line(
        TaskView(
            name="classify",
            state="running",
            stage="inference",
            started_at="2026-11-22T12:00:30Z",
            items=ItemCounts(total=1000, done=409, failed=3, in_flight=16),
            usage=Usage(calls=1, cost=0.041),
            waiting="waiting 8 s for openai (requests per minute)",
        ),
        NOW,
    )
    assert line.details == ["412/1000 rows · 3 failed · 16 in flight", "00:11", "$0.041"]
    assert (line.doing, line.progress) == ("inference", 0.412)
    assert line.note == "waiting 8 s for openai (requests per minute)"


def test_unknown_cost_is_said_and_local_is_free() -> None:
    assert fmt.usage_parts(Usage(calls=1, cost=None, input_tokens=5)) == ["5 tokens", "cost unknown"]
    assert fmt.usage_parts(Usage(calls=1, cost=0.0, output_tokens=1)) == ["1 token", "$0"]
    assert fmt.usage_parts(Usage()) == []
    assert fmt.usage_parts(Usage(cached_calls=1)) == ["$0", "1 of 1 call from the cache"]
    told = fmt.usage_parts(Usage(calls=9, cached_calls=1200, input_tokens=5, cost=0.1))
    assert told[1:] == ["$0.100", "1,200 of 1,209 calls from the cache"], "G2: visible hits"
    assert fmt.usage_parts(Usage(calls=1, unknown=2, cost=0.1))[-1] == "2 calls of unknown outcome"


def test_every_failure_carries_the_command_that_goes_on() -> None:
    """P11, P12: what happened, and how to go on without paying twice."""
    rows = TaskView(name="classify", state="done", items=ItemCounts(total=1000, done=997, failed=3))
    done = run_view(state="done", tasks=(rows,))
    assert [p.text for p in fmt.problems(done)] == ["classify failed on 3 of 1000 rows; the run went on"]
    assert fmt.next_steps(done) == ["%po show 7f3a9c --failed", "%po resume 7f3a9c --only-failed"]
    error = {"code": "model_key", "message": "no key for openai", "hint": "set OPENAI_API_KEY"}
    task = TaskView(name="a", state="failed", stage="inference", error=error)
    failed = run_view(state="failed", error=error, tasks=(task,))
    assert list(fmt.problems(failed)) == [
        fmt.RunProblem("a failed in inference: no key for openai", "set OPENAI_API_KEY")
    ]
    assert fmt.next_steps(failed, "po ") == ["po resume 7f3a9c"]
    over = run_view(
        state="failed", error={"code": "budget_exceeded", "message": "the next call could cost more"}
    )
    assert [p.text for p in fmt.problems(over)] == ["the next call could cost more"]
    assert fmt.next_steps(over) == ["%po resume 7f3a9c --budget USD"]
    of_hub = {"code": "budget_exceeded", "message": "spent", "details": {"scope": "hub"}}
    spent = run_view(state="failed", error=of_hub)
    assert fmt.next_steps(spent) == ["%po resume 7f3a9c"], "an option of the run raises no limit of the hub"
    gate = run_view(state="waiting", gate={"task": "a", "message": "look"})
    assert fmt.next_steps(gate) == ["%po approve 7f3a9c", "%po reject 7f3a9c"]
    assert fmt.next_steps(run_view()) == []


def test_reused_rows_are_said() -> None:
    """G17: what an earlier run paid for is visible, in the words of the panel."""
    items = ItemCounts(total=1000, done=409, failed=3, in_flight=16, reused=400)
    assert fmt.row_counts(items) == "412/1000 rows · 3 failed · 400 reused · 16 in flight"


def test_an_operator_says_how_many_rows_it_kept() -> None:
    """It said that it had looked at all of them."""
    kept = ItemCounts(total=291, done=291, kept=120, of=291)
    assert fmt.row_counts(kept, running=False) == "291/291 rows · kept 120 of 291"
    made = ItemCounts(total=14, done=14, made=12, of=291)  # a group that was asked about in steps
    assert fmt.row_counts(made, running=False) == "14/14 rows · made 12 of 291"
    assert fmt.row_counts(ItemCounts(total=4, done=4, kept=0, of=4)) == "4/4 rows · kept 0 of 4"


@pytest.mark.parametrize(
    ("cost", "unpriced", "unknown", "text"),
    [
        (1.2, 0, 0, "$1.20"),
        (1.2, 3, 0, "$1.20 + 3 calls of unknown price"),
        (None, 1, 0, "1 call of unknown price"),
        (None, 0, 2, "2 calls of unknown outcome"),
        (0.0, 1, 1200, "$0 + 1 call of unknown price + 1,200 calls of unknown outcome"),
        (0.0, 0, 0, "$0"),
    ],
)
def test_a_bill_says_what_is_not_in_it(cost: float | None, unpriced: int, unknown: int, text: str) -> None:
    """G1: unknown is shown as unknown, never as zero."""
    assert fmt.cost_sum(cost, unpriced, unknown) == text


def test_a_moment_is_the_same_for_every_reader() -> None:
    """A notebook is read in other time zones and in other years."""
    assert fmt.moment(fmt.timestamp("2026-11-26T23:14:59+01:00")) == "22:14 UTC, Nov 26, 2026"
    assert fmt.moment(fmt.timestamp("2027-01-01T00:00:00Z")) == "00:00 UTC, Jan 1, 2027"
