"""The running sum of usage equals the sum of usages."""

from __future__ import annotations

from po_jupyter.engine.base.usage_sum import UsageSum
from po_jupyter.model.run.usage import Usage

ONE = Usage(input_tokens=3, output_tokens=2, cached_tokens=1, reasoning_tokens=1, calls=1, cost=0.25)


def test_it_adds_subtracts_and_starts_over() -> None:
    total = UsageSum()
    assert not total
    total.add(ONE)
    total.add_json((ONE + ONE).to_json())
    total.add_json(ONE.to_json(), -1)
    assert total
    assert Usage.model_validate(total.to_json()) == ONE + ONE
    assert Usage.model_validate(total.pop()) == ONE + ONE
    assert not total


def test_a_cost_that_is_unknown_stays_unknown() -> None:
    total = UsageSum()
    total.add(ONE)
    total.add(Usage(calls=1, cost=None))
    total.add(ONE)
    assert total.pop()["cost"] is None
    assert total.cost == 0.0
