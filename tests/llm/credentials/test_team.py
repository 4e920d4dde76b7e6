"""Which providers are asked through the gateway of a hub, and with which key."""

from __future__ import annotations

import pytest

from po_jupyter.llm.credentials.keys import KeyState
from po_jupyter.llm.credentials.team import TeamCatalogue, goes_through, is_of_team, team_state, with_team
from po_jupyter.llm.specs import specs

HUB = "https://hub.example/services/po"
TOKEN = "token-of-ada-0123456789"
TEAM = TeamCatalogue.from_json(
    {"models": [{"model": "openai:gpt-5-mini"}, {"model": "vllm:qwen"}], "own_keys": False}
)
OPEN = TeamCatalogue.from_json({"models": [{"model": "openai:gpt-5-mini"}], "own_keys": True})


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("openai", f"{HUB}/openai/v1"),
        ("anthropic", f"{HUB}/anthropic"),
        ("gemini", f"{HUB}/gemini"),
        ("deepseek", f"{HUB}/deepseek/v1"),
        ("azure", f"{HUB}/azure/v1"),
        ("vllm", f"{HUB}/vllm/v1"),  # the team's own machine
    ],
)
def test_vendors_and_the_teams_own_servers_are_asked_through_the_gateway(provider, url):
    spec = specs()[provider]
    environ = with_team({"PATH": "/bin"}, HUB, TOKEN, TEAM)
    assert spec.base_url_in(environ) == url
    assert spec.key_in(environ) == TOKEN
    assert is_of_team(spec, environ, HUB)


@pytest.mark.parametrize("provider", ["ollama", "local", "fake", "claude-cli"])
def test_what_runs_here_stays_here(provider):
    spec = specs()[provider]
    environ = with_team({}, HUB, TOKEN, TEAM)
    assert not is_of_team(spec, environ, HUB)
    assert TOKEN not in {environ.get(name) for name in spec.key_variables if name != "ANTHROPIC_API_KEY"} or (
        spec.runs_code
    )


def test_a_key_of_ones_own_wins_where_the_admin_allows_it_and_is_not_sent_to_the_hub_else():
    openai, anthropic = specs()["openai"], specs()["anthropic"]
    own = {"OPENAI_API_KEY": "sk-own-0123456789", "OPENAI_BASE_URL": "https://my.example/v1"}
    environ = with_team(own, HUB, TOKEN, OPEN)
    assert (openai.base_url_in(environ), openai.key_in(environ)) == (
        "https://my.example/v1",
        "sk-own-0123456789",
    )
    assert is_of_team(anthropic, environ, HUB)
    environ = with_team(own, HUB, TOKEN, TEAM)
    assert (openai.base_url_in(environ), openai.key_in(environ)) == (f"{HUB}/openai/v1", TOKEN)
    assert not goes_through(openai, own, OPEN)
    assert goes_through(openai, own, TEAM)


def test_without_a_token_no_key_goes_to_the_hub():
    environ = with_team({"OPENAI_API_KEY": "sk-own-0123456789"}, HUB, "", TEAM)
    assert "OPENAI_API_KEY" not in environ
    assert specs()["openai"].base_url_in(environ) == f"{HUB}/openai/v1"


def test_the_list_of_keys_says_which_one_is_used():
    state = KeyState(
        "openai", "OPENAI_API_KEY", "https://api.openai.com/v1", True, "environment", "sk-…6789", True, ""
    )
    shown = team_state(state, specs()["openai"], HUB, TOKEN)
    assert shown.source == "hub"
    assert shown.base_url == f"{HUB}/openai/v1"
    assert "your own key is not used" in shown.note
    assert TOKEN not in str(shown.to_json())


@pytest.mark.parametrize("answer", [None, [], {}, {"models": "all"}, {"models": None}, "<html>"])
def test_what_is_no_list_of_models_is_refused(answer):
    with pytest.raises(ValueError, match="no models"):
        TeamCatalogue.from_json(answer)


def test_strange_entries_are_passed_over():
    catalogue = TeamCatalogue.from_json(
        {"models": [{"model": "openai:x", "input_per_million": "1"}, 3, {}, {"model": ""}]}
    )
    assert catalogue.refs == ("openai:x",)
    assert catalogue.models[0]["input_per_million"] is None
    assert not catalogue.own_keys


def test_a_long_list_is_said_in_part():
    many = TeamCatalogue.from_json({"models": [{"model": f"openai:m{n}"} for n in range(25)]})
    assert many.listed().endswith("openai:m19 and 5 more")
    assert TeamCatalogue().listed() == "none"


def test_without_a_token_it_says_how_to_get_one():
    state = KeyState("openai", "OPENAI_API_KEY", "https://api.openai.com/v1", True, None, "", False, "")
    assert "po keys set hub" in team_state(state, specs()["openai"], HUB, "").note
