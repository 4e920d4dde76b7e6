"""Calls in somebody's name: only a service of the hub makes them, the owner's limits hold, forged names are refused."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from po_jupyter.hub.behalf import BehalfTokens
from po_jupyter.hub.identity import HubUser, TokenTable
from po_jupyter.model.values.behalf import behalf_token, parse_behalf
from po_jupyter.testing.model_server import ModelServer
from tests.support.hub import KEY, USERS, GatewayClient, running

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
SERVICE = "service-token"
TABLE = TokenTable(
    {
        **USERS,
        SERVICE: HubUser("service:po-runs", for_others=True),
        "other-service": HubUser("service:other"),
        "closed-service": HubUser("service:closed", may_use=False, for_others=True),
    }
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    tmp_path_factory: pytest.TempPathFactory, server: ModelServer
) -> AsyncIterator[GatewayClient]:
    folder = tmp_path_factory.mktemp("gateway")
    limits = {
        "each_user": {"usd_per_day": 5},
        "users": {"bob": {"usd_per_day": 0.000001}},
        "groups": {"red": {"models": ["openai:gpt-5-mini"]}, "blue": {"usd_per_day": 0.000001}},
    }
    people = BehalfTokens(TABLE, TABLE)
    async with running(folder, server.root_url, limits=limits, authenticator=people) as client:
        yield client


async def test_a_call_in_alices_name_is_hers(gateway: GatewayClient, vendor: ModelServer) -> None:
    before = await gateway.spent("alice")
    status, _ = await gateway.chat(token=behalf_token("alice", SERVICE))
    assert (status, len(vendor.requests)) == (200, 1)
    assert vendor.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert await gateway.spent("alice") > before
    assert await gateway.spent("service:po-runs") == 0


@pytest.mark.parametrize("name", ["bob", "group:blue"])
async def test_the_limits_of_the_named_hold(gateway: GatewayClient, vendor: ModelServer, name: str) -> None:
    status, answer = await gateway.chat(token=behalf_token(name, SERVICE))
    # A call that no budget of theirs could ever pay is refused for good, one that is too much now for a day.
    assert (status, answer["error"]["code"]) in ((429, "budget_exceeded"), (400, "invalid_request"))
    assert vendor.requests == []


async def test_so_do_the_models_of_the_groups_that_the_hub_says(gateway: GatewayClient) -> None:
    for name in ("alice", "group:red"):
        status, answer = await gateway.chat(token=behalf_token(name, SERVICE), model="gpt-5")
        assert (status, answer["error"]["code"]) == (403, "model_not_allowed"), name
    status, answer, _ = await gateway.ask("GET", "api/usage", token=behalf_token("alice", SERVICE))
    assert (answer["user"], answer["groups"]) == ("alice", ["red"])


def encoded(name: bytes) -> str:
    return base64.urlsafe_b64encode(name).decode()


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        (behalf_token("alice", "bob-token"), 403, "no_access"),  # of a person
        (behalf_token("bob", "bob-token"), 403, "no_access"),
        (behalf_token("alice", "admin-token"), 403, "no_access"),  # of an administrator
        (behalf_token("alice", "other-service"), 403, "no_access"),  # of a service without the scope
        (behalf_token("alice", "closed-service"), 403, "no_access"),
        (behalf_token("alice", "made-up"), 401, "unauthorized"),
        (behalf_token("nobody", SERVICE), 401, "unauthorized"),
        (behalf_token("group:nobody", SERVICE), 401, "unauthorized"),
        (behalf_token("group:", SERVICE), 401, "unauthorized"),
        (behalf_token("bob", behalf_token("alice", SERVICE)), 401, "unauthorized"),
        (f"po-behalf..{SERVICE}", 401, "unauthorized"),
        (f"po-behalf.{encoded(b'alice')}.", 401, "unauthorized"),
        (f"po-behalf.{encoded(b'alice')}", 401, "unauthorized"),
        (f"po-behalf.alice.{SERVICE}", 401, "unauthorized"),
        (f"po-behalf.{encoded(bytes([255]))}.{SERVICE}", 401, "unauthorized"),
        (f"po-behalf.{encoded(b'alice')}=.{SERVICE}", 401, "unauthorized"),
        (f"po-behalf.{'A' * 600}.{SERVICE}", 401, "unauthorized"),
    ],
)  # fmt: skip
async def test_a_name_that_is_forged_is_refused(
    gateway: GatewayClient, vendor: ModelServer, token: str, status: int, code: str
) -> None:
    answered, answer = await gateway.chat(token=token)
    assert (answered, answer["error"]["code"]) == (status, code)
    assert vendor.requests == []


async def test_a_header_makes_nobody_another(gateway: GatewayClient) -> None:
    for header in ("X_Po_On_Behalf_Of", "X_Forwarded_User", "Remote_User"):
        for token, name in (("alice-token", "alice"), (SERVICE, "service:po-runs")):
            _, answer, _ = await gateway.ask("GET", "api/usage", token=token, **{header: "bob"})
            assert answer["user"] == name


async def test_nobody_is_an_administrator_in_anothers_name(gateway: GatewayClient) -> None:
    for path in ("api/admin/usage", "api/admin/limits", "api/admin/metrics"):
        status, _, _ = await gateway.ask("GET", path, token=behalf_token("root", SERVICE))
        assert status == 403, path


async def test_what_names_somebody_is_read_as_it_was_written() -> None:
    for name in ("alice", "group:red", "Ünïcode", "a.b.c", "x" * 200):
        assert parse_behalf(behalf_token(name, "a.token.with.dots")) == (name, "a.token.with.dots")
