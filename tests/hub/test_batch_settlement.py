"""Results of batches that do not add up; the usual ones are in `tests.hub.test_batches`."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.hub.accounts.balances import Demand, Reservation
from po_jupyter.hub.accounts.ledger import Charge
from po_jupyter.hub.accounts.periods import Period
from po_jupyter.hub.batch_settlement import BatchResults, look_at_batches, plus, settle_holds
from po_jupyter.hub.limits_file import LimitsFile
from po_jupyter.hub.state import GatewayState
from po_jupyter.hub.wires.batch_shapes import SHAPES
from tests.support.hub import KEY, running, write_config


def hold(ref: str, nano: int = 1000, at: float = 0.0) -> Reservation:
    return Reservation(ref, Demand("alice", (), ref, 100, 100, nano, True), Period("2026-11-27", "2026-11"), at)


@pytest.fixture
def state(tmp_path: Path) -> GatewayState:
    path = write_config(tmp_path, "http://127.0.0.1:1")
    return GatewayState(LimitsFile(path), environ={"TEAM_KEY": KEY})


def line(custom_id: str, model: str = "claude-haiku-4-5", output: int = 1) -> dict[str, object]:
    message = {"model": model, "usage": {"input_tokens": 0, "output_tokens": output}}
    return {"custom_id": custom_id, "result": {"type": "succeeded", "message": message}}


def test_a_line_that_comes_twice_counts_once(state: GatewayState) -> None:
    results = BatchResults(
        state,
        [hold("anthropic:claude-haiku-4-5", 10**6)],
        {"anthropic:claude-haiku-4-5": 2},
        SHAPES["anthropic"],
    )
    for custom_id in ("1", "1", "2"):
        results.add(line(custom_id))
    ((_, charge),) = results.settled(whole=True)
    assert (charge.calls, charge.nano, charge.lost) == (2, 2 * 5000, 0)


def test_an_answer_belongs_to_the_model_that_it_names(state: GatewayState) -> None:
    """A vendor may add a date to the name; what it does not name belongs to some model of the batch."""
    refs = ["anthropic:claude-haiku", "anthropic:claude-haiku-4-5"]
    results = BatchResults(state, [hold(ref) for ref in refs], dict.fromkeys(refs, 1), SHAPES["anthropic"])
    results.add(line("1", "claude-haiku-4-5-20251001"))
    results.add(line("2", "claude-haiku-20240101"))
    results.add(line("3", ""))
    assert [charge.calls for _, charge in results.settled(whole=True)] == [1, 2]


def test_results_that_are_none_count_nothing_and_their_lines_in_full(state: GatewayState) -> None:
    results = BatchResults(state, [hold("m:x")], {"m:x": 3}, SHAPES["anthropic"])
    for row in ({}, {"custom_id": 5}, {"custom_id": "a", "result": []}):
        results.add(row)
    ((_, charge),) = results.settled(whole=True)
    assert charge.lost == 1 and charge.nano == 334  # two of three were there; rounded up
    ((_, charge),) = results.settled(whole=False)
    assert charge == Charge(calls=0)


def test_sums() -> None:
    assert plus(Charge(1, 2, 3, 4, 5, 6, 7, 8), Charge(1, 1, 1, 1, 1, 1, 1, 1)) == Charge(
        2, 3, 4, 5, 6, 7, 8, 9
    )


@pytest.mark.integration
async def test_a_batch_whose_making_was_never_answered_counts_in_full_after_a_day(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    async with running(tmp_path, "http://127.0.0.1:1", clock=lambda: now) as gateway:
        state = gateway.state
        made = hold("openai:gpt-5-mini", at=now)
        await state.ledger.reserve([made], "openai/?x")
        state.balances.restore(made)
        state.batches["openai/?x"] = [made]
        await look_at_batches(state)
        assert await gateway.spent() == 0 and state.batches
        now += 27 * 3600
        await look_at_batches(state)
        assert await gateway.spent() == 1000 and not state.batches and await gateway.reserved() == 0
        await settle_holds(state, "openai/?x", [(made, Charge())])  # once
        assert await gateway.spent() == 1000


def test_an_answer_that_names_no_model_belongs_to_the_dearest(state: GatewayState) -> None:
    refs = ["openai:gpt-5-mini", "openai:a-model-of-a-long-name-without-a-price"]
    results = BatchResults(state, [hold(ref, 10**9) for ref in refs], dict.fromkeys(refs, 1), SHAPES["openai"])
    body = {"model": "ft:other", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 10}}
    results.add({"custom_id": "1", "response": {"body": body}})
    assert [charge.nano for _, charge in results.settled(whole=False)] == [55_000, 0]


def test_lines_of_a_model_whose_price_went_away_count_as_they_were_reserved(state: GatewayState) -> None:
    ref = "anthropic:claude-gone"
    results = BatchResults(state, [hold(ref, 1000)], {ref: 4}, SHAPES["anthropic"])
    results.add(line("1", "claude-gone"))
    ((_, charge),) = results.settled(whole=False)
    assert (charge.nano, charge.unpriced) == (250, 0)


def test_a_batch_never_counts_more_than_was_reserved_within_its_bounds(state: GatewayState) -> None:
    ref = "anthropic:claude-haiku-4-5"
    results = BatchResults(state, [hold(ref, 1000)], {ref: 1}, SHAPES["anthropic"])
    results.add(line("1", output=50))
    ((_, charge),) = results.settled(whole=True)
    assert charge.nano == 1000
