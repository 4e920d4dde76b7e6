"""The prices of a team: they hold for what is asked through its gateway, from the first that was said on."""

from __future__ import annotations

from po_jupyter.config import Price
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
