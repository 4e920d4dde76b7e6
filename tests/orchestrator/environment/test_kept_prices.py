"""Prices of a team that are kept over restarts; with a run in `tests.hub.test_prices`."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.config import Price
from po_jupyter.llm.credentials.team import TeamCatalogue
from po_jupyter.llm.money.team_prices import TeamPrices
from po_jupyter.orchestrator.environment.kept_prices import FOLDER, KeptPrices

URL = "http://hub/services/po"
PRICES = {"openai:house": Price(input=1, output=2), "openai:known": "list", "gemini:x": "unknown"}


def test_what_was_said_last_is_there_again_for_this_gateway_and_this_owner_alone(tmp_path: Path) -> None:
    KeptPrices(tmp_path, None, URL).write(PRICES)
    assert KeptPrices(tmp_path, None, URL).read() == PRICES
    assert KeptPrices(tmp_path, None, "http://other/services/po").read() == {}
    assert KeptPrices(tmp_path, "ada", URL).read() == {}
    KeptPrices(tmp_path, "../ada", URL).write({})
    assert len(list((tmp_path / FOLDER).iterdir())) == 2 and list(tmp_path.iterdir()) == [tmp_path / FOLDER]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", f'{{"url": "{URL}", "models": {{"a": {{"input": -1}}}}}}']
)
def test_a_file_that_is_none_says_nothing(tmp_path: Path, text: str) -> None:
    kept = KeptPrices(tmp_path, None, URL)
    kept.write(PRICES)
    next((tmp_path / FOLDER).iterdir()).write_text(text)
    assert kept.read() == {}


def test_prices_that_cannot_be_written_end_nothing(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file in the place of the directory")
    kept = KeptPrices(tmp_path, None, URL)
    kept.write(PRICES)
    assert kept.read() == {}


def test_a_model_that_is_not_among_the_kept_prices_waits_for_the_gateway() -> None:
    answer = TeamCatalogue(prices=PRICES).prices_of("openai")
    prices = TeamPrices({"openai": answer, "mistral": TeamCatalogue(prices=PRICES).prices_of("mistral")})
    assert prices.find("openai:house") == Price(input=1, output=2) and not prices.is_pending("openai:house")
    assert prices.is_pending("openai:new") and prices.is_pending("mistral:any")
    now = {"openai:new": "list", "openai:house": Price(input=9, output=9)}
    prices.learn("openai", TeamCatalogue(prices=now, is_known=True).prices_of("openai"))
    assert prices.find("openai:new") == "list" and not prices.is_pending("openai:other")
    assert prices.find("openai:house") == Price(input=1, output=2)  # one price from a run's start to its end
