"""The prices in a gateway's list of models: exact where an admin set them, and refused where they are none."""

from __future__ import annotations

import pytest

from po_jupyter.llm.credentials.team import TeamCatalogue
from po_jupyter.llm.money.gateway_prices import entries_in, prices_in
from po_jupyter.llm.money.pricing import PriceBook


def test_what_a_catalogue_says_is_exact_where_an_admin_set_it_and_the_lists_where_it_is_the_same() -> None:
    listed = PriceBook().per_million("openai:gpt-5")
    assert listed is not None
    catalogue = TeamCatalogue.from_json({"models": [
        {"model": "openai:a", "input_per_million": 1, "output_per_million": 2,
         "price": {"input": 1.0000000001, "output": 2, "cached": 0.1}},
        {"model": "openai:gpt-5", "input_per_million": listed["input"], "output_per_million": listed["output"]},
        {"model": "openai:newer-than-our-list", "input_per_million": 5, "output_per_million": 6, "price": None},
        {"model": "openai:b", "input_per_million": None, "output_per_million": None},
        {"model": "mistral:c", "input_per_million": 1, "output_per_million": 1},
    ]})  # fmt: skip
    assert catalogue.prices_of("openai") == {"models": {
        "openai:a": {"input": 1.0000000001, "output": 2.0, "cached": 0.1}, "openai:gpt-5": "list",
        "openai:newer-than-our-list": {"input": 5.0, "output": 6.0}, "openai:b": "unknown",
    }}  # fmt: skip
    assert TeamCatalogue().prices_of("openai") == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_per_million": -1, "output_per_million": 1},
        {"input_per_million": float("inf"), "output_per_million": 1},
        {"input_per_million": 1, "output_per_million": float("nan")},
        {"price": {"input": -1, "output": 1}},
        {"price": {"input": 1}},
        {"price": {"input": float("inf"), "output": 1}},
        {"price": {"input": 1, "output": 1, "per_hour": 1}},
        {"price": 3},
        {"price": []},
    ],
)
def test_a_price_that_is_none_makes_no_catalogue(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="openai:a"):
        TeamCatalogue.from_json({"models": [{"model": "openai:a", **wrong}]})


def test_an_entry_that_is_none_is_passed_over_and_the_list_has_an_end() -> None:
    entries = entries_in(
        {"models": [None, "x", {}, {"model": ""}, *({"model": f"openai:{n}"} for n in range(20_000))]}
    )
    assert 9_000 < len(entries) <= 10_000
    assert prices_in(entries, "mistral") == {}
