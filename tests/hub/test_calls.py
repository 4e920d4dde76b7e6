"""Calls: every wire, whole and streamed, and what each counts as however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.hub import KEY, GatewayClient, running

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
CHAT = "openai/v1/chat/completions"
ASKED: Any = [{"role": "user", "content": "hello there"}]
CONTENTS = [{"role": "user", "parts": [{"text": "hello there"}]}]
GEMINI = "gemini/v1beta/models/gemini-2.5-flash"
# By wire: its path, its body, and how it asks for a stream.
WIRES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "chat": (CHAT, {"model": "gpt-5-mini", "messages": ASKED}, CHAT, {"stream": True}),
    "compatible": (
        "mistral/chat/completions", {"model": "mistral-small-latest", "messages": ASKED},
        "mistral/v1/chat/completions", {"stream": True, "stream_options": {"include_usage": True}},
    ),
    "responses": (
        "openai/v1/responses", {"model": "gpt-5-mini", "input": ASKED}, "openai/v1/responses", {"stream": True},
    ),
    "messages": (
        "anthropic/v1/messages", {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": ASKED},
        "anthropic/v1/messages", {"stream": True},
    ),
    "gemini": (f"{GEMINI}:generateContent", {"contents": CONTENTS}, f"{GEMINI}:streamGenerateContent?alt=sse", {}),
}  # fmt: skip
# "hello there" is 2 words, "echo: hello there" 3: at $1 and $10 a million.
COST = 2 * 1000 + 3 * 10_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    tmp_path_factory: pytest.TempPathFactory, server: ModelServer
) -> AsyncIterator[GatewayClient]:
    limits = {"all": {"usd_per_day": 1000}}
    async with running(tmp_path_factory.mktemp("gateway"), server.root_url, limits=limits) as client:
        yield client


async def settled(gateway: GatewayClient) -> int:
    """What alice spent, when nothing is reserved any more."""
    async with asyncio.timeout(10):
        while await gateway.reserved():
            await asyncio.sleep(0.01)
    return await gateway.spent()


@pytest.mark.parametrize("wire", WIRES)
async def test_each_wire_is_passed_on_and_counted(
    gateway: GatewayClient, vendor: ModelServer, wire: str
) -> None:
    path, body, stream_path, stream = WIRES[wire]
    before = await settled(gateway)
    status, answer, headers = await gateway.ask("POST", path, body)
    assert (status, headers["X-Po-From"]) == (200, "vendor") and "echo: hello there" in str(answer)
    assert await settled(gateway) - before == COST
    status, text, headers = await gateway.ask("POST", stream_path, {**body, **stream})
    assert status == 200 and headers["Content-Type"].startswith("text/event-stream") and "there" in text
    assert await settled(gateway) - before == 2 * COST
    assert {KEY} == {
        (
            r.headers.get("authorization", "Bearer ")[7:]
            or r.headers.get("x-api-key")
            or r.headers["x-goog-api-key"]
        )
        for r in vendor.requests
    }


async def test_a_keys_place_is_the_wires_own(gateway: GatewayClient) -> None:
    for name in ("x_api_key", "x_goog_api_key"):
        path, body, _, _ = WIRES["messages"]
        assert (await gateway.ask("POST", path, body, token="", **{name: "alice-token"}))[0] == 200


async def test_a_stream_comes_piece_by_piece(gateway: GatewayClient, vendor: ModelServer) -> None:
    vendor.enqueue(Reply("one two three", stall=30.0))
    headers = {"Authorization": "Bearer alice-token"}
    body = {**WIRES["chat"][1], "stream": True}
    async with gateway.session.post(f"{gateway.url}/{CHAT}", json=body, headers=headers) as response:
        piece = await asyncio.wait_for(response.content.readany(), 10)
        assert b"chat.completion.chunk" in piece and not response.content.at_eof()


async def test_a_stream_that_breaks_off_breaks_off_and_counts_what_was_seen(
    gateway: GatewayClient, vendor: ModelServer
) -> None:
    """Of a model that does not think; gpt-5-mini's thoughts would not be seen, so that it counts in full."""
    _, body, path, stream = WIRES["compatible"]
    before = await settled(gateway)
    vendor.enqueue(Reply("word " * 100, cut=2500))
    with pytest.raises(aiohttp.ClientError):
        await gateway.ask("POST", path, {**body, **stream, "max_tokens": 1000})
    used = await settled(gateway) - before
    # The bound of the input is about 1,200 tokens; ten words of 3 to 5 tokens were seen, at most.
    assert 1_100_000 < used < 2_000_000


async def test_a_stream_of_a_model_that_thinks_counts_in_full_when_it_breaks_off(
    gateway: GatewayClient, vendor: ModelServer
) -> None:
    before = await settled(gateway)
    vendor.enqueue(Reply("word " * 100, cut=2500))
    with pytest.raises(aiohttp.ClientError):
        await gateway.ask("POST", CHAT, {**WIRES["chat"][1], "stream": True, "max_tokens": 1000})
    assert await settled(gateway) - before > 1000 * 10_000


async def test_a_user_who_goes_away_is_counted(gateway: GatewayClient, vendor: ModelServer) -> None:
    before = await settled(gateway)
    vendor.enqueue(Reply("one two three four five", gap=0.2))
    headers = {"Authorization": "Bearer alice-token"}
    body = {**WIRES["compatible"][1], "stream": True, "max_tokens": 1000}
    async with gateway.session.post(
        f"{gateway.url}/mistral/v1/chat/completions", json=body, headers=headers
    ) as response:
        await response.content.readany()
        response.close()
    assert 0 < await settled(gateway) - before < 3_000_000


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(status=400), "nothing"), (Reply(status=429), "nothing"), (Reply(status=500), "nothing"),
        (Reply(status=503), "nothing"), (Reply(status=502), "in full"), (Reply(status=504), "in full"),
        (Reply(status=524), "in full"), (Reply(cut=0), "in full"), (Reply(cut=150), "in full"),
        (Reply(body=b"<html>"), "in full"), (Reply(body=b"{}"), "in full"),
        (Reply(usage={"prompt_tokens": 0, "completion_tokens": 0}), "in full"),
        (Reply(usage={"prompt_tokens": "2", "completion_tokens": 3}), "exact"),
        (Reply(usage={"prompt_tokens": -5, "completion_tokens": 10**15}), "in full"),
        (Reply(usage={"prompt_tokens": 1000, "completion_tokens": 500, "completion_tokens_details":
                      {"reasoning_tokens": 497}}), "reasoning"),
    ],
)  # fmt: skip
async def test_an_answer_counts_by_what_is_known_of_it(
    gateway: GatewayClient, vendor: ModelServer, reply: Reply, expected: str
) -> None:
    before = await settled(gateway)
    vendor.enqueue(reply)
    status, _ = await gateway.chat("hello there", max_tokens=1000)
    used = await settled(gateway) - before
    if expected == "nothing":
        assert (status, used) == (reply.status, 0)
    elif expected == "in full":
        assert used > 1000 * 10_000  # the whole of what it might have answered, and the bound of its input
    else:
        assert used == (COST if expected == "exact" else 1000 * 1000 + 500 * 10_000)


async def test_a_vendor_that_is_away_costs_nothing_and_is_to_be_waited_for(tmp_path: Path) -> None:
    with ModelServer() as server:
        url = server.root_url
    async with running(tmp_path, url) as gateway:
        status, answer, headers = await gateway.ask("POST", CHAT, WIRES["chat"][1])
        assert (status, headers["X-Po-Error"], headers["Retry-After"]) == (503, "vendor_unavailable", "5")
        assert answer["error"]["code"] == "vendor_unavailable"
        assert await settled(gateway) == 0


async def test_the_problem_of_a_wire_has_its_shape(gateway: GatewayClient) -> None:
    for wire, (path, body, _, _) in WIRES.items():
        status, answer, headers = await gateway.ask("POST", path, body, token="wrong")
        assert (status, headers["X-Po-Error"], answer["error"]["code"]) == (401, "unauthorized", "unauthorized")
        assert answer.get("type") == ("error" if wire == "messages" else None)


async def test_a_spent_budget_says_when_it_begins_anew(tmp_path: Path, vendor: ModelServer) -> None:
    async with running(tmp_path, vendor.root_url, limits={"each_user": {"usd_per_day": 0.0025}}) as gateway:
        body = {**WIRES["chat"][1], "max_tokens": 10}
        assert (await gateway.ask("POST", CHAT, body))[0] == 200
        assert (await gateway.ask("POST", CHAT, {**body, "max_tokens": 100}))[0] == 200
        vendor.enqueue(Reply(usage={"prompt_tokens": 1500, "completion_tokens": 10}))
        assert (await gateway.ask("POST", CHAT, body))[0] == 200
        status, answer, headers = await gateway.ask("POST", CHAT, body)
        assert (status, answer["error"]["code"], headers["x-should-retry"]) == (429, "budget_exceeded", "false")
        assert headers["X-Po-Error"] == "budget_exceeded" and headers["X-Po-Resets-At"].endswith("T00:00:00Z")


async def test_a_short_limit_waits_in_the_queue_and_then_says_how_long(
    tmp_path: Path, vendor: ModelServer
) -> None:
    limits, more = {"each_user": {"concurrency": 1}}, "queue: {seconds: 0.3, per_user: 2}"
    async with running(tmp_path, vendor.root_url, limits=limits, more=more) as gateway:
        vendor.hold()
        try:
            first = asyncio.create_task(gateway.chat())
            await asyncio.to_thread(vendor.wait_for, 1)
            status, answer, headers = await gateway.ask("POST", CHAT, WIRES["chat"][1])
            assert (status, answer["error"]["code"], headers["Retry-After"]) == (429, "rate_limited", "1")
            assert gateway.state.admission.waiting == 0
            waiting = [asyncio.create_task(gateway.chat()) for _ in range(4)]
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert all(task.result()[0] == 429 for task in done)
        finally:
            vendor.release()
        assert (await first)[0] == 200
        statuses = sorted([status for status, _ in await asyncio.gather(*waiting)])
        assert statuses[-1] == 429 and gateway.state.balances.in_flight() == 0


async def test_what_waits_goes_when_a_call_ends(tmp_path: Path, vendor: ModelServer) -> None:
    more = "queue: {seconds: 20}"
    async with running(tmp_path, vendor.root_url, limits={"all": {"concurrency": 3}}, more=more) as gateway:
        answers = await asyncio.gather(
            *(gateway.chat(token=t) for t in ("alice-token", "bob-token") for _ in range(20))
        )
        assert [status for status, _ in answers] == [200] * 40


async def test_a_model_without_a_price_is_refused_under_a_limit_in_dollars(gateway: GatewayClient) -> None:
    status, answer = await gateway.chat(model="gpt-5")
    assert (status, answer["error"]["code"]) == (403, "model_not_allowed") and "price" in answer["error"][
        "message"
    ]


async def test_the_models_of_a_wire_are_the_users(gateway: GatewayClient) -> None:
    _, listed, _ = await gateway.ask("GET", "openai/v1/models")
    assert [row["id"] for row in listed["data"]] == ["gpt-5-mini", "gpt-5", "text-embedding-3-small"]
    _, listed, _ = await gateway.ask("GET", "gemini/v1beta/models")
    assert listed == {"models": [{"name": "models/gemini-2.5-flash"}, {"name": "models/gemini-embedding-001"}]}
    _, listed, _ = await gateway.ask("GET", "anthropic/v1/models", token="", x_api_key="alice-token")
    assert listed["data"][0]["id"] == "claude-haiku-4-5"
