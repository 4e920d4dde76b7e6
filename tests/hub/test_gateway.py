"""The gateway's own routes; the vendors' wires are in `tests.hub.test_calls`, refusals in `tests.hub.test_attacks`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from po_jupyter.testing.model_server import ModelServer
from tests.support.hub import GatewayClient, running

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]


@pytest.fixture
def vendor() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest_asyncio.fixture
async def gateway(tmp_path: Path, vendor: ModelServer) -> AsyncIterator[GatewayClient]:
    limits = {"users": {"bob": {"models": ["small"]}}, "each_user": {"usd_per_day": 2}}
    async with running(tmp_path, vendor.root_url, limits=limits, more="own_keys: true") as client:
        yield client


async def test_models_are_those_of_the_caller_with_prices(gateway: GatewayClient) -> None:
    _, answer, _ = await gateway.ask("GET", "api/models", token="bob-token")
    assert answer == {
        "models": [
            {
                "model": "openai:gpt-5-mini",
                "input_per_million": 1.0,
                "output_per_million": 10.0,
                "price": {"input": 1.0, "output": 10.0},
            }
        ],
        "own_keys": True,
    }
    _, answer, _ = await gateway.ask("GET", "api/models")
    unpriced = {"model": "openai:gpt-5", "input_per_million": None, "output_per_million": None, "price": None}
    assert unpriced in answer["models"]


async def test_usage_is_the_callers(gateway: GatewayClient) -> None:
    await gateway.chat()
    for token, user, used in (("alice-token", "alice", 0.000021), ("bob-token", "bob", 0)):
        _, answer, _ = await gateway.ask("GET", "api/usage", token=token)
        day = next(
            row for row in answer["windows"]
            if (row["scope"], row["window"], row["unit"]) == (f"user:{user}", "day", "usd")
        )  # fmt: skip
        assert answer["user"] == user and day["used"] == pytest.approx(used)
    assert answer["groups"] == ["red", "blue"]


async def test_it_says_that_it_lives_and_nothing_else_without_a_token(gateway: GatewayClient) -> None:
    assert (await gateway.ask("GET", "health", token=""))[:2] == (200, {})
    for path in ("", "api/models", "api/nothing", "oauth_callback", "favicon.ico", "health?x=1/../api/usage"):
        status, answer, _ = await gateway.ask("GET", path, token="")
        assert status == (200 if path.startswith("health") else 401) and "windows" not in str(answer)


async def test_a_failure_inside_is_an_answer_without_details(
    gateway: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(gateway.state.models, "resolve", fail)
    status, answer = await gateway.chat()
    assert (status, answer["error"]["code"]) == (500, "gateway_unavailable") and "secret" not in str(answer)


async def test_a_ledger_that_cannot_be_written_sends_nothing(
    gateway: GatewayClient, vendor: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(gateway.state.ledger, "reserve", fail)
    status, answer = await gateway.chat()
    assert (status, answer["error"]["code"]) == (503, "gateway_unavailable") and vendor.requests == []
    assert gateway.state.balances.in_flight() == 0


async def test_a_user_does_not_see_what_others_use_but_where_it_limits_them(
    tmp_path: Path, vendor: ModelServer
) -> None:
    limits = {"each_user": {"usd_per_day": 2}, "groups": {"red": {"usd_per_month": 5}}}
    async with running(tmp_path, vendor.root_url, limits=limits) as client:
        await client.chat()
        _, answer, _ = await client.ask("GET", "api/usage", token="bob-token")
        foreign = [row for row in answer["windows"] if row["scope"] != "user:bob"]
        assert [(row["scope"], row["window"], row["unit"]) for row in foreign] == [
            ("group:red", "month", "usd")
        ]
        _, answer, _ = await client.ask("GET", "api/usage", token="admin-token")
        assert {"user:root", "all"} == {row["scope"] for row in answer["windows"]}


async def test_an_image_by_its_address_goes_to_the_vendors_own_server_only(
    tmp_path: Path, vendor: ModelServer
) -> None:
    """Another server fetches it from within the team's network."""
    image = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data"}}
    messages = [{"role": "user", "content": [image]}]
    async with running(tmp_path, vendor.root_url) as client:
        before = len(vendor.requests)
        status, answer = await client.chat(messages=messages)
        assert (status, len(vendor.requests)) == (400, before) and "image_urls" in answer["error"]["message"]
        text = client.state.file.path.read_text().replace("  openai: {", "  openai: {image_urls: true, ")
        client.state.file.path.write_text(text)
        client.state.reload()
        assert (await client.chat(messages=messages))[0] == 200
