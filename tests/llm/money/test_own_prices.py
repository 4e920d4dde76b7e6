"""Prices of one's own: over the list's, for models that are in none, everywhere the same (G15)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from po_jupyter.config import Price, load
from po_jupyter.engine.budgets.guard import worst_of
from po_jupyter.engine.planning.check import check
from po_jupyter.engine.planning.estimate import estimate_run
from po_jupyter.errors import InvalidSettings
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.money.pricing import cost_of, is_priced, per_million, priced, use_prices
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.run.usage import Usage

MINE = {
    "openai:my-model": Price(input=0.5, output=1.5, cached=0.1),
    "openai:gpt-4o-mini": Price(input=1, output=2),
}


@pytest.fixture(autouse=True)
def mine() -> Iterator[None]:
    use_prices(MINE)
    yield
    use_prices({})


def test_a_price_of_ones_own_counts() -> None:
    """By hand: 600,000 fresh at 0.5, 400,000 cached at 0.1, 100,000 out at 1.5."""
    usage = Usage(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=100_000, cost=None)
    assert cost_of(usage, "openai:my-model") == pytest.approx(0.3 + 0.04 + 0.15)
    assert cost_of(usage, "openai:gpt-4o-mini") == pytest.approx(1 + 0.2), (
        "cached costs what input does, unless said"
    )
    assert per_million("openai:my-model") == {"input": 0.5, "output": 1.5}
    assert priced(usage, "openai:my-model").cost == pytest.approx(0.49)
    assert priced(Usage(cost=7.0), "openai:my-model").cost == 7.0, (
        "what the provider says it cost is what it cost"
    )


def test_unknown_stays_unknown_and_the_list_comes_back() -> None:
    assert not is_priced("openai:other-model")
    listed = cost_of(Usage(input_tokens=1_000_000), "openai:gpt-4o-mini")
    use_prices({})
    assert not is_priced("openai:my-model")
    assert cost_of(Usage(input_tokens=1_000_000), "openai:gpt-4o-mini") != listed


def test_a_server_of_ones_own_may_cost_something() -> None:
    use_prices({"vllm:big": Price(input=2, output=2)})
    assert cost_of(Usage(input_tokens=500_000), "vllm:big") == 1.0
    assert cost_of(Usage(input_tokens=500_000), "vllm:small") == 0.0


def test_budgets_checks_and_estimates_use_it() -> None:
    """G1: a budget in dollars for a model that no list has."""
    definition = {
        "name": "p", "budget": {"usd": 1}, "llm": {"model": "openai:my-model", "max_tokens": 1000},
        "tasks": [{"name": "a", "prompt": "x" * 400}],
    }  # fmt: skip
    pipeline = validate_pipeline(definition)
    check(pipeline)
    said = estimate_run(pipeline, Seed(name="s", data={}), {}, settings=load({}))
    assert said["cost"]["worst"] is not None
    assert said["unknown"] == []
    request = ChatRequest("openai:my-model", (Message("user", "x"),), max_tokens=1000)
    assert worst_of(request, priced=True).usd == pytest.approx(1000 * 1.5e-6, rel=0.1)


BAD: dict[str, Any] = {
    "no model ref": {"my-model": {"input": 1, "output": 1}},
    "negative": {"openai:x": {"input": -1, "output": 1}},
    "not a number": {"openai:x": {"input": "much", "output": 1}},
    "half of it": {"openai:x": {"input": 1}},
    "a typo": {"openai:x": {"input": 1, "output": 1, "cachd": 1}},
    "infinite": {"openai:x": {"input": float("inf"), "output": 1}},
    "a number": 3,
}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD.keys())
def test_prices_that_are_none_are_refused(value: Any) -> None:
    """P11: with the setting's name."""
    with pytest.raises(InvalidSettings, match=r"prices|PO_PRICES"):
        load({"PO_PRICES": json.dumps(value)})


def test_prices_come_by_the_environment_and_from_a_file(tmp_path: Any) -> None:
    with pytest.raises(InvalidSettings, match="PO_PRICES is not JSON"):
        load({"PO_PRICES": "openai:x=1"})
    given = load({"PO_PRICES": '{"openai:x": {"input": 1, "output": 2}}'})
    assert given.prices["openai:x"].output == 2
    file = tmp_path / "po.yaml"
    file.write_text('prices:\n  "openai:my-model": {input: 0.5, output: 1.5, cached: 0.1}\n')
    assert load({"PO_CONFIG": str(file)}).prices["openai:my-model"] == MINE["openai:my-model"]
    assert load({"PO_PRICES": ""}).prices == {}
