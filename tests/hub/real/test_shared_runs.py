"""Shared runs on a real hub, set up as the guide says: no server of the owner's, and the hub's word on who is who."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.hub.real.conftest import await_state, rows, submit
from tests.support.jupyterhub import RealHub, await_true, real_hub

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def hub(vendor: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    limits = {"limits": {"groups": {"biologists": {"models": ["openai:gpt-5-mini"]}}}}
    with real_hub(tmp_path_factory.mktemp("hub"), upstream=vendor.root_url, limits=limits, runs=True) as hub:
        with client(hub, hub.alice) as alice:
            await_true(lambda: alice.get("meta").status_code == 200, 120, "the service of shared runs", hub.log)
        yield hub


def client(hub: RealHub, user: str, token: str | None = None, **headers: str) -> httpx.Client:
    """A client of the service through the hub's proxy, with what a server of the user's has."""
    token = token or hub.new_token(user, ["access:services!service=po", "access:services!service=po-runs"])
    return httpx.Client(
        base_url=f"{hub.url}/services/po-runs/po/api/v1/", trust_env=False, timeout=30,
        headers={"Authorization": f"token {token}", **headers},
    )  # fmt: skip


def test_a_run_goes_on_without_anybodys_server_and_is_the_owners(hub: RealHub, vendor: ModelServer):
    with client(hub, hub.alice) as alice:
        run = submit(alice, rows(3))
        await_state(lambda: client(hub, hub.alice), run, "done")
        view = alice.get(f"runs/{run}").json()["run"]
    assert view["owner"] == hub.alice
    assert not hub.server(hub.alice)
    calls = [call for call in vendor.requests if "tickets" in str(call.body)]
    assert {call.headers["authorization"] for call in calls} == {f"Bearer {hub.key_file.read_text().strip()}"}
    token = hub.new_token(hub.alice)
    headers = {"Authorization": f"Bearer {token}"}
    usage = httpx.get(f"{hub.gateway_url}/api/usage", headers=headers, trust_env=False).json()
    assert usage["user"] == hub.alice
    for user in (hub.bob, hub.carol):
        with client(hub, user) as stranger:
            assert stranger.get(f"runs/{run}").status_code == 404
            assert stranger.post(f"runs/{run}/cancel", json={}).status_code == 404
            assert stranger.get(f"runs/{run}/events").status_code == 404
            assert stranger.get("runs").json()["runs"] == []


def test_a_run_of_a_group_is_its_members_and_the_hub_says_who_they_are(hub: RealHub):
    with client(hub, hub.alice, **{"X-Po-Group": "biologists"}) as alice, client(hub, hub.bob) as bob:
        run = submit(alice, rows(2, "group"))
        await_state(lambda: client(hub, hub.bob), run, "done")
        assert bob.get(f"runs/{run}").json()["run"]["owner"] == "group:biologists"
        other = rows(1, "other")
        other["pipeline"]["llm"]["model"] = "openai:gpt-4o-mini"
        refused = alice.post("runs", json=other)
        assert refused.status_code == 400
        assert "not among your team's models" in refused.text
    with client(hub, hub.carol) as carol:
        assert carol.get(f"runs/{run}").status_code == 404
        assert carol.get("runs", headers={"X-Po-Group": "biologists"}).status_code == 403


def test_a_token_without_the_scope_and_none_get_nothing(hub: RealHub):
    narrow = hub.new_token(hub.alice, ["access:services!service=po"])
    for token in (narrow, "made-up", hub.api_token):
        with client(hub, hub.alice, token) as stranger:
            for path in ("runs", "meta", "events"):
                assert stranger.get(path).status_code in (401, 403), token
    assert httpx.get(f"{hub.url}/services/po-runs/po/api/v1/runs", trust_env=False).status_code == 401


def test_somebody_who_is_a_member_no_more_sees_nothing_within_a_minute(hub: RealHub):
    with client(hub, hub.bob) as bob, client(hub, hub.bob, **{"X-Po-Group": "biologists"}) as group:
        assert group.get("runs").status_code == 200
        assert (
            hub.api.request("DELETE", "groups/biologists/users", json={"users": [hub.bob]}).status_code == 200
        )
        await_true(lambda: group.get("runs").status_code == 403, 75, "the end of bob's membership", hub.log)
        assert bob.get("runs").status_code == 200
