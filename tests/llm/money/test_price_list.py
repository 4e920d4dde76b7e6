"""Costs by the price list, and estimates of tokens."""

import pytest

from po_jupyter.llm.money.pricing import LIST_PRICES
from po_jupyter.llm.money.tokens import estimate
from po_jupyter.model.run.usage import Usage

HAND = [  # USD for 1000 input (200 of them cached) and 100 output tokens
    ("openai:gpt-5-mini", 800 * 0.25e-6 + 200 * 0.025e-6 + 100 * 2e-6),
    ("openai:gpt-4o", 800 * 2.5e-6 + 200 * 1.25e-6 + 100 * 10e-6),
    ("openai:gpt-4o-mini", 800 * 0.15e-6 + 200 * 0.075e-6 + 100 * 0.6e-6),
]


@pytest.mark.parametrize(("ref", "dollars"), HAND)
def test_costs_are_those_of_the_price_list(ref, dollars):
    usage = Usage(input_tokens=1000, output_tokens=100, cached_tokens=200, cost=None, calls=1)
    assert LIST_PRICES.cost_of(usage, ref) == pytest.approx(dollars, rel=1e-9)
    assert LIST_PRICES.priced(usage, ref).cost == pytest.approx(dollars, rel=1e-9)


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


def test_an_unknown_price_is_unknown_and_own_models_are_free():
    usage = Usage(input_tokens=10, output_tokens=1, cost=None)
    assert LIST_PRICES.cost_of(usage, "openai:no-such-model") is None and not LIST_PRICES.is_priced(
        "openai:no-such-model"
    )
    assert LIST_PRICES.priced(usage, "openai:no-such-model").cost is None
    assert LIST_PRICES.priced(usage, "openai:alias", "gpt-4o-2024-08-06").cost > 0
    assert LIST_PRICES.cost_of(usage, "local:smollm2-135m") == 0.0 and LIST_PRICES.is_priced("fake:echo")
    assert LIST_PRICES.priced(Usage(cost=0.3), "openai:gpt-4o").cost == 0.3


def test_estimates_are_near_a_token_for_four_characters():
    assert estimate("") == 0 and estimate("word" * 10) == 10 and estimate("日本語") >= 2
