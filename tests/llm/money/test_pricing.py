"""A bill that is right: money as the vendors' price lists say, and prices of one's own over them (G15)."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from po_jupyter.config import Price, load
from po_jupyter.engine.budgets.guard import worst_of
from po_jupyter.engine.planning.check import check
from po_jupyter.engine.planning.estimate import estimate_run
from po_jupyter.errors import BudgetExceeded, InvalidPipeline, InvalidSettings
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.money import pricing
from po_jupyter.llm.money.pricing import LIST_PRICES, PriceBook
from po_jupyter.llm.money.service_tiers import BATCH
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.run.usage import Usage

# USD per million tokens: (input, cache read, cache write, output), by the vendors' price pages as genai-prices
# 0.2.3 has them; the sums below are written out by hand.
M = 1e-6
HAND = [
    # 10,000 input of which 4,000 from the cache; 2,000 output of which 1,500 reasoning
    ("openai:gpt-5-mini", 0, 6_000 * 0.25 * M + 4_000 * 0.025 * M + 2_000 * 2.00 * M),
    ("openai:gpt-5.2", 0, 6_000 * 1.75 * M + 4_000 * 0.175 * M + 2_000 * 14.00 * M),
    ("openai:o3", 0, 6_000 * 2.00 * M + 4_000 * 0.50 * M + 2_000 * 8.00 * M),
    ("openai:gpt-4o-mini", 0, 6_000 * 0.15 * M + 4_000 * 0.075 * M + 2_000 * 0.60 * M),
    ("anthropic:claude-haiku-4-5", 1_000, 5_000 * 1 * M + 4_000 * 0.1 * M + 1_000 * 1.25 * M + 2_000 * 5 * M),
    ("anthropic:claude-opus-4-5", 1_000, 5_000 * 5 * M + 4_000 * 0.5 * M + 1_000 * 6.25 * M + 2_000 * 25 * M),
    ("anthropic:claude-sonnet-4-5", 1_000, 5_000 * 3 * M + 4_000 * 0.3 * M + 1_000 * 3.75 * M + 2_000 * 15 * M),
    ("gemini:gemini-2.5-flash", 0, 6_000 * 0.30 * M + 4_000 * 0.03 * M + 2_000 * 2.50 * M),
    ("gemini:gemini-2.5-pro", 0, 6_000 * 1.25 * M + 4_000 * 0.125 * M + 2_000 * 10.00 * M),
    ("deepseek:deepseek-chat", 0, 6_000 * 0.27 * M + 4_000 * 0.07 * M + 2_000 * 1.10 * M),
    ("moonshot:kimi-k2.5", 0, 6_000 * 0.60 * M + 4_000 * 0.10 * M + 2_000 * 3.00 * M),
    ("zai:glm-4.6", 0, 6_000 * 0.60 * M + 4_000 * 0.11 * M + 2_000 * 2.20 * M),
]  # fmt: skip


def at_noon(monkeypatch, hour=12):
    """A moment of which the prices are known, whenever the test runs."""
    monkeypatch.setattr(pricing, "_now", lambda: datetime(2026, 11, 20, hour, tzinfo=UTC))


@pytest.mark.parametrize(("ref", "written", "dollars"), HAND)
def test_a_call_costs_what_the_price_list_says(ref, written, dollars, monkeypatch):
    """Done when 6: cached, written and reasoning tokens, each at its price, none twice."""
    at_noon(monkeypatch)
    usage = Usage(
        input_tokens=10_000,
        cached_tokens=4_000,
        cache_write_tokens=written,
        output_tokens=2_000,
        reasoning_tokens=1_500,
        cost=None,
        calls=1,
    )
    assert LIST_PRICES.cost_of(usage, ref) == pytest.approx(dollars, rel=1e-9)
    assert LIST_PRICES.priced(usage, ref).cost == pytest.approx(dollars, rel=1e-9)


def test_a_price_that_depends_on_the_hour_is_asked_for_each_time(monkeypatch):
    """DeepSeek's list has half the price from 16:30 to 00:30 UTC."""
    at_noon(monkeypatch)
    assert LIST_PRICES.cost_of(Usage(input_tokens=1_000_000), "deepseek:deepseek-chat") == pytest.approx(0.27)
    at_noon(monkeypatch, hour=20)
    assert LIST_PRICES.cost_of(Usage(input_tokens=1_000_000), "deepseek:deepseek-chat") == pytest.approx(0.135)


def test_a_price_in_tiers_is_asked_for_each_time():
    """Gemini 2.5 Pro costs twice as much for prompts beyond 200,000 tokens."""
    assert LIST_PRICES.cost_of(Usage(input_tokens=100_000), "gemini:gemini-2.5-pro") == pytest.approx(0.125)
    assert LIST_PRICES.cost_of(Usage(input_tokens=300_000), "gemini:gemini-2.5-pro") == pytest.approx(0.75)


def test_what_a_provider_says_it_cost_is_what_it_cost():
    assert (
        LIST_PRICES.priced(Usage(input_tokens=9, cost=0.00014), "openrouter:openai/gpt-5-mini").cost == 0.00014
    )


@pytest.mark.parametrize("ref", ["alibaba:qwen-plus", "openai:nobody-knows", "claude-cli:sonnet", "nobody:x"])
def test_an_unknown_price_is_unknown_and_never_zero(ref):
    assert LIST_PRICES.cost_of(Usage(input_tokens=10), ref) is None
    assert not LIST_PRICES.is_priced(ref)
    assert LIST_PRICES.per_million(ref) is None


@pytest.mark.parametrize(
    "ref", ["local:smollm2-135m", "fake:echo", "ollama:qwen3:4b", "vllm:x", "llamacpp:any"]
)
def test_what_runs_on_ones_own_machine_costs_nothing(ref):
    assert LIST_PRICES.cost_of(Usage(input_tokens=10), ref) == 0.0


def test_prices_for_a_list_are_per_million_tokens():
    assert LIST_PRICES.per_million("openai:gpt-5-mini") == {"input": 0.25, "output": 2.0}
    assert LIST_PRICES.per_million("local:smollm2-135m") == {"input": 0.0, "output": 0.0}


def test_the_quick_price_is_the_price_of_the_list_for_every_openai_model():
    from genai_prices import Usage as Counts
    from genai_prices import calc_price
    from genai_prices.data_snapshot import get_snapshot

    (openai,) = (p for p in get_snapshot().providers if p.id == "openai")
    compared = 0
    for model in openai.models:
        try:
            counts = Counts(input_tokens=300_000, output_tokens=1000, cache_read_tokens=1000)
            want = float(calc_price(counts, model.id, provider_id="openai").total_price)
        except LookupError:
            continue
        usage = Usage(input_tokens=300_000, output_tokens=1000, cached_tokens=1000, cost=None)
        assert LIST_PRICES.cost_of(usage, f"openai:{model.id}") == pytest.approx(want), model.id
        compared += 1
    assert compared > 30


def test_a_model_without_a_price_is_priced_by_the_one_that_answered():
    usage = Usage(input_tokens=10, output_tokens=1, cost=None)
    assert LIST_PRICES.priced(usage, "openai:no-such-model").cost is None
    assert LIST_PRICES.priced(usage, "openai:alias", "gpt-4o-2024-08-06").cost > 0
    assert LIST_PRICES.is_priced("fake:echo")


def test_batches_cost_half_and_what_a_provider_says_of_its_cost_stays():
    usage = Usage(input_tokens=1_000_000, cost=None)
    assert LIST_PRICES.priced(usage, "openai:gpt-4o-mini", tier=BATCH).cost == pytest.approx(0.075)
    assert LIST_PRICES.priced(usage, "openai:alias", "gpt-4o-mini", tier=BATCH).cost == pytest.approx(0.075)
    assert LIST_PRICES.priced(Usage(cost=7.0), "openai:gpt-4o-mini", tier=BATCH).cost == 7.0
    assert LIST_PRICES.priced(usage, "openai:no-such-model", tier=BATCH).cost is None


@pytest.mark.parametrize(
    ("ref", "cached"),
    [
        ("openai:gpt-4o-mini", 0.075),  # no less than other input of a batch
        ("openai:gpt-5-mini", 0.0125),
        ("gemini:gemini-2.5-flash", 0.03),  # as much as outside of one
        ("anthropic:claude-haiku-4-5", 0.05),
    ],
)
def test_what_comes_from_the_cache_in_a_batch_costs_what_the_list_says(ref: str, cached: float):
    """Half of the cache's price was too little at two vendors."""
    usage = Usage(input_tokens=1_000_000, cached_tokens=1_000_000, cost=None)
    assert LIST_PRICES.cost_of(usage, ref, tier=BATCH) == pytest.approx(cached)
    own = PriceBook({ref: Price(input=2, output=2, cached=1)})
    assert own.cost_of(usage, ref, tier=BATCH) == pytest.approx(0.5), "of a price of one's own half"


MINE = {
    "openai:my-model": Price(input=0.5, output=1.5, cached=0.1),
    "openai:gpt-4o-mini": Price(input=1, output=2),
}


PRICES = PriceBook(MINE)


def test_a_price_of_ones_own_counts() -> None:
    """By hand: 600,000 fresh at 0.5, 400,000 cached at 0.1, 100,000 out at 1.5."""
    usage = Usage(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=100_000, cost=None)
    assert PRICES.cost_of(usage, "openai:my-model") == pytest.approx(0.3 + 0.04 + 0.15)
    assert PRICES.cost_of(usage, "openai:gpt-4o-mini") == pytest.approx(1 + 0.2), (
        "cached costs what input does, unless said"
    )
    assert PRICES.per_million("openai:my-model") == {"input": 0.5, "output": 1.5}
    assert PRICES.priced(usage, "openai:my-model").cost == pytest.approx(0.49)
    assert PRICES.priced(Usage(cost=7.0), "openai:my-model").cost == 7.0, (
        "what the provider says it cost is what it cost"
    )


def test_unknown_stays_unknown_and_other_settings_have_the_list() -> None:
    assert not PRICES.is_priced("openai:other-model")
    own = PRICES.cost_of(Usage(input_tokens=1_000_000), "openai:gpt-4o-mini")
    assert not LIST_PRICES.is_priced("openai:my-model")
    assert LIST_PRICES.cost_of(Usage(input_tokens=1_000_000), "openai:gpt-4o-mini") != own


def test_a_server_of_ones_own_may_cost_something() -> None:
    prices = PriceBook({"vllm:big": Price(input=2, output=2)})
    assert prices.cost_of(Usage(input_tokens=500_000), "vllm:big") == 1.0
    assert prices.cost_of(Usage(input_tokens=500_000), "vllm:small") == 0.0


def test_budgets_checks_and_estimates_use_it() -> None:
    """G1: a budget in dollars for a model that no list has."""
    definition = {
        "name": "p", "budget": {"usd": 1}, "llm": {"model": "openai:my-model", "max_tokens": 1000},
        "tasks": [{"name": "a", "prompt": "x" * 400}],
    }  # fmt: skip
    pipeline = validate_pipeline(definition)
    check(pipeline, prices=PRICES)
    with pytest.raises(InvalidPipeline, match="the price of openai:my-model is unknown"):
        check(pipeline)
    own = json.dumps({ref: price.model_dump() for ref, price in MINE.items()})
    said = estimate_run(pipeline, Seed(name="s", data={}), {}, settings=load({"PO_PRICES": own}))
    assert said["cost"]["worst"] is not None
    assert said["unknown"] == []
    request = ChatRequest("openai:my-model", (Message("user", "x"),), max_tokens=1000)
    assert worst_of(request, PRICES).usd == pytest.approx(1000 * 1.5e-6, rel=0.1)


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


def test_a_model_behind_another_vendors_address_has_no_price_of_its_name() -> None:
    """`openai:` behind another base URL was priced as OpenAI's: 5.6 times too low at one."""
    usage = Usage(input_tokens=1_000_000, calls=1, cost=None)
    for address in ("https://api.other.example/v1", "http://127.0.0.1:4000/v1"):
        prices = PriceBook({"openai:mine": Price(input=2, output=2)}, base_url=lambda ref, at=address: at)
        assert prices.cost_of(usage, "openai:gpt-4o") is None and not prices.is_priced("openai:gpt-4o")
        assert prices.per_million("openai:gpt-4o") is None
        assert prices.priced(usage, "openai:alias", "gpt-4o").cost is None, "the answer's model neither"
        assert prices.priced(usage, "openai:gpt-4o", tier=BATCH).cost is None
        assert prices.cost_of(usage, "openai:mine") == pytest.approx(2.0)
        told = usage.model_copy(update={"cost": 0.5})
        assert prices.priced(told, "openrouter:x/y").cost == 0.5, "what a server bills is what is paid"
        request = ChatRequest("openai:gpt-4o", (Message("user", "hi"),), max_tokens=5)
        with pytest.raises(BudgetExceeded, match="the price of openai:gpt-4o is unknown"):
            worst_of(request, prices)
    home = PriceBook(base_url=lambda ref: "https://api.openai.com/v1")
    assert home.cost_of(usage, "openai:gpt-4o") == LIST_PRICES.cost_of(usage, "openai:gpt-4o")
    azure = PriceBook(base_url=lambda ref: "https://mine.openai.azure.com")
    assert azure.is_priced("azure:gpt-4o")
