"""The gateway as one user sees it: asked now and then, and never a reason for an error."""

from __future__ import annotations

import pytest

from po_jupyter.llm.specs import specs
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.environment.team import Team, today_of
from tests.support.fake_gateway import FakeGateway, Fault, GatewayThread

pytestmark = pytest.mark.integration
TOKEN = "token-of-ada-0123"
DAY = {
    "scope": "user",
    "window": "day",
    "unit": "usd",
    "used": 0.3,
    "reserved": 0.1,
    "limit": 2,
    "resets_at": "x",
}


@pytest.fixture
def thread():
    gateway = FakeGateway("http://127.0.0.1:1")
    gateway.tokens, gateway.windows = {TOKEN}, [DAY]
    thread = GatewayThread(gateway)
    thread.start()
    yield thread
    thread.stop()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_one_request_serves_many_and_a_gateway_that_is_away_changes_nothing_that_is_known(thread):
    clock = Clock()
    team = Team(thread.gateway.url, lambda: TOKEN, clock=clock)
    assert [team.catalogue().refs for _ in range(5)] == [("openai:gpt-5-mini",)] * 5
    assert len(thread.gateway.requests) == 1
    thread.stop()
    clock.now = 31.0
    away = team.catalogue()
    assert away.refs == ("openai:gpt-5-mini",)
    assert "cannot be reached" in away.problem
    thread.start()
    clock.now = 40.0
    assert team.catalogue().problem == ""


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(401, "unauthorized"), "does not know this token"),
        (Fault(403, "no_access"), "may not use"),
        (Fault(403, body="<html>"), "does not answer now (403)"),
        (Fault(302, body="", headers={"Location": "/hub/login"}), "does not answer now (302)"),
        (Fault(200, body="<html>"), "no JSON"),
        (Fault(503, body=""), "does not answer now (503)"),
    ],
)
def test_each_answer_has_words(thread, fault, said):
    thread.gateway.standing = fault
    team = Team(thread.gateway.url, lambda: TOKEN)
    assert said in team.catalogue().problem
    assert said in team.usage()["problem"]
    assert TOKEN not in str(team.usage())


def test_without_a_token_nothing_is_asked(thread):
    team = Team(thread.gateway.url, lambda: "")
    assert "po keys set hub" in team.catalogue().problem
    assert thread.gateway.requests == []


def test_the_day_of_the_user_is_what_the_gateway_has_used_and_holds(thread):
    usage = Team(thread.gateway.url, lambda: TOKEN).usage()
    assert usage["user"] == "ada"
    assert today_of(usage) == {"used": 0.4, "limit": 2.0}
    assert today_of({**usage, "windows": [{**DAY, "scope": "all"}]}) is None


def test_a_new_token_of_the_server_is_the_next_answer(thread, tmp_path, monkeypatch):
    keys = KeyStore(tmp_path, thread.gateway.url)
    monkeypatch.setenv("PO_HUB_URL", thread.gateway.url)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "one-0123456789")
    assert keys.key_of("openai") == {
        "OPENAI_BASE_URL": f"{thread.gateway.url}/openai/v1", "OPENAI_API_KEY": "one-0123456789"
    }  # fmt: skip
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "two-0123456789")
    assert keys.key_of("openai")["OPENAI_API_KEY"] == "two-0123456789"


def test_outside_of_the_hubs_servers_a_stored_token_is_used_for_this_hub_alone(thread, tmp_path, monkeypatch):
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)
    keys = KeyStore(tmp_path, thread.gateway.url)
    keys.put("hub", TOKEN)
    assert keys.state("hub").stored
    assert keys.hub_token() == TOKEN
    assert keys.key_of("openai")["OPENAI_API_KEY"] == TOKEN
    assert TOKEN not in str([state.to_json() for state in keys.states()])
    assert KeyStore(tmp_path, "https://other.example/services/po").hub_token() == ""


def test_the_token_of_the_hub_is_the_key_of_providers_of_the_team_alone(thread, tmp_path, monkeypatch):
    """CLI agents look up the vendors' variables: a program that runs commands would have the token, and send it on."""
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", TOKEN)
    monkeypatch.setenv("PO_HUB_URL", thread.gateway.url)
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    keys = KeyStore(tmp_path, thread.gateway.url)
    asked = {name: keys.key_of(name) for name in specs()}
    for name, spec in specs().items():
        team = asked[name].get(spec.base_env) == spec.team_url(thread.gateway.url)
        assert (TOKEN in asked[name].values()) is (team and bool(spec.key_env)), name
    assert TOKEN in asked["openai"].values()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-own-0123456789")
    assert keys.key_of("claude-cli") == {"ANTHROPIC_API_KEY": "sk-ant-own-0123456789"}
    assert keys.key_of("anthropic")["ANTHROPIC_API_KEY"] == TOKEN


@pytest.mark.parametrize("named", ["", "https://hub.example/services/po", "{url}/", "{url}x"])
def test_a_token_of_the_environment_goes_to_the_hub_that_the_environment_names(
    thread, tmp_path, monkeypatch, named
):
    """The address may stand in a project's file, and a project may be anybody's."""
    for variable in ("JUPYTERHUB_API_TOKEN", "PO_HUB_TOKEN"):
        monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)
        monkeypatch.setenv(variable, TOKEN)
        monkeypatch.setenv("PO_HUB_URL", named.format(url=thread.gateway.url))
        keys = KeyStore(tmp_path, thread.gateway.url)
        is_its_own = named == "{url}/"
        assert keys.hub_token() == (TOKEN if is_its_own else "")
        keys.catalogue()
    assert ([token for _, token in thread.gateway.requests] == [TOKEN, TOKEN]) is is_its_own
