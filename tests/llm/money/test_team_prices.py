"""The prices of a team: they hold for what is asked through its gateway, from the first that was said on."""

from __future__ import annotations

import pytest

from po_jupyter.config import Price
from po_jupyter.llm.credentials.team import TeamCatalogue
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.money.team_prices import PENDING, TeamPrices, answer_of
from po_jupyter.model.run.usage import Usage

MILLION = Usage(input_tokens=1_000_000)
OWN = {"openai:gpt-5-mini": Price(input=3, output=3), "openai:no-list-has-it": Price(input=4, output=4)}
SAID = answer_of(
    {"openai:gpt-5-mini": Price(input=7, output=70), "openai:gpt-5": "list", "openai:no-list-has-it": "unknown",
     "openai:gpt-4.1": "unknown"}
)  # fmt: skip


def test_the_teams_price_weighs_most_where_its_gateway_is_asked() -> None:
    team = TeamPrices({"openai": SAID})
    book = PriceBook(OWN, team=team)
    assert book.cost_of(MILLION, "openai:gpt-5-mini") == 7
    assert book.cost_of(MILLION, "openai:gpt-5-mini", tier="batch") == PriceBook(
        {"openai:gpt-5-mini": Price(input=7, output=70)}
    ).cost_of(MILLION, "openai:gpt-5-mini", tier="batch")
    assert book.cost_of(MILLION, "openai:gpt-5") == PriceBook().cost_of(MILLION, "openai:gpt-5")
    assert book.cost_of(MILLION, "openai:no-list-has-it") == 4  # the gateway counts none; the user's own stays
    assert book.cost_of(MILLION, "openai:gpt-4.1") is None
    assert book.lacks_price("openai:gpt-4.1")
    team.learn("openai", None)  # asked with a key of the user's own now
    assert book.cost_of(MILLION, "openai:gpt-5-mini") == 3
    assert book.cost_of(MILLION, "openai:gpt-4.1") == PriceBook().cost_of(MILLION, "openai:gpt-4.1")


def test_the_first_prices_stay_and_until_then_the_list_holds() -> None:
    team = TeamPrices()
    book = PriceBook(team=team)
    team.learn("openai", PENDING)
    assert book.is_pending("openai:new")
    assert not book.lacks_price("openai:new")
    assert book.cost_of(MILLION, "openai:gpt-5-mini") == PriceBook().cost_of(MILLION, "openai:gpt-5-mini")
    team.learn("openai", SAID)
    team.learn("openai", answer_of({"openai:gpt-5-mini": Price(input=9, output=9)}))
    team.learn("openai", PENDING)
    assert book.cost_of(MILLION, "openai:gpt-5-mini") == 7
    assert book.lacks_price("openai:new")


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
