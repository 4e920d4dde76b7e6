"""The list of models of a user whose hub has a team's."""

from __future__ import annotations

from po_jupyter.llm.credentials.team import TeamCatalogue, with_team
from po_jupyter.llm.credentials.team_listing import team_listing
from po_jupyter.llm.providers.catalogue import usable_models

HUB = "https://hub.example/services/po"
TEAM = TeamCatalogue.from_json(
    {
        "models": [
            {"model": "openai:gpt-5-mini", "input_per_million": 9.0, "output_per_million": 10.0},
            {"model": "openai:our-own", "input_per_million": None, "output_per_million": None},
        ]
    }
)


def listed(team: TeamCatalogue = TEAM, token: str = "token-of-ada"):
    environ = with_team({}, HUB, token, team)
    return {model.ref: model for model in team_listing(usable_models(environ), environ, HUB, team)}


def test_the_teams_models_are_usable_with_the_gateways_prices():
    models = listed()
    assert models["openai:gpt-5-mini"].usable
    assert models["openai:gpt-5-mini"].price == {"input": 9.0, "output": 10.0}
    assert models["openai:gpt-5-mini"].list_price == {"input": 0.25, "output": 2.0}
    assert models["openai:our-own"].list_price is None
    assert models["openai:our-own"].usable
    assert models["openai:our-own"].price is None
    assert models["openai:our-own"].price_note


def test_a_price_that_is_the_lists_is_not_said_twice():
    body = {"models": [{"model": "openai:gpt-5-mini", "input_per_million": 0.25, "output_per_million": 2.0}]}
    assert listed(TeamCatalogue.from_json(body))["openai:gpt-5-mini"].list_price is None


def test_the_vendors_other_models_are_not_and_say_why():
    models = listed()
    others = [
        model
        for ref, model in models.items()
        if ref.startswith(("openai:", "anthropic:")) and ref not in TEAM.refs
    ]
    assert others
    assert all(not model.usable and "team" in model.why for model in others)


def test_what_runs_here_is_as_it_was():
    assert listed()["fake:echo"].usable


def test_while_the_gateway_has_never_answered_nobody_claims_that_a_model_is_missing():
    away = TeamCatalogue(problem="the hub's gateway cannot be reached (ConnectError)")
    assert listed(away)["openai:gpt-5-mini"].why == "the hub's gateway cannot be reached (ConnectError)"


def test_usable_ones_come_first():
    usable = [model.usable for model in listed().values()]
    assert usable == sorted(usable, reverse=True)
