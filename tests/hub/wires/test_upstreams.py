"""The team's keys, and headers in both directions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from po_jupyter.errors import InvalidSettings
from po_jupyter.hub.limits_file import checked
from po_jupyter.hub.wires.bodies import MAX_ERROR, is_cut
from po_jupyter.hub.wires.upstreams import (
    NeverSent,
    StreamScrubber,
    Upstream,
    VendorConnections,
    read_upstreams,
)

KEY = "sk-team-key-0123456789"


def upstreams(providers: object, folder: Path, **environ: str) -> dict[str, Upstream]:
    name = next(iter(providers))  # type: ignore[call-overload]
    return read_upstreams(checked({"providers": providers, "models": [f"{name}:m"]}, "x"), folder, environ)


def test_vendors_that_say_what_a_call_cost_are_those_of_the_client(tmp_path: Path) -> None:
    for name, says_cost in (("openrouter", True), ("xai", True), ("mistral", False)):
        found = upstreams({name: {"key_env": "TEAM"}}, tmp_path, TEAM=KEY)
        assert found[name].says_cost is says_cost


def test_a_key_comes_from_a_variable_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"'{KEY}'\n")
    for found in (
        upstreams({"openai": {}}, tmp_path, OPENAI_API_KEY=KEY),
        upstreams({"openai": {"key_env": "TEAM"}}, tmp_path, TEAM=f" {KEY}\n"),
        upstreams({"openai": {"key_file": "key"}}, tmp_path),
        upstreams({"openai": {"key_file": str(tmp_path / "key")}}, tmp_path),
    ):
        assert found["openai"].key == KEY and KEY not in repr(found)
        assert found["openai"].headers({})["Authorization"] == f"Bearer {KEY}"
        assert str(found["openai"].url("/models")) == "https://api.openai.com/v1/models"


@pytest.mark.parametrize(
    ("provider", "environ"),
    [
        ({}, {}),
        ({"key_env": "TEAM"}, {"TEAM": ""}),
        ({"key_file": "nothing"}, {}),
        ({"key_env": "TEAM"}, {"TEAM": "a\r\nX-Evil: 1"}),
        ({"key_env": "TEAM"}, {"TEAM": "schlüssel"}),
    ],
)
def test_a_provider_without_a_usable_key_is_named(
    tmp_path: Path, provider: dict[str, str], environ: dict[str, str]
) -> None:
    with pytest.raises(InvalidSettings, match=r"providers\.openai") as refused:
        upstreams({"openai": provider}, tmp_path, **environ)
    assert "Evil" not in str(refused.value)


def test_a_server_of_ones_own_needs_no_key(tmp_path: Path) -> None:
    assert "Authorization" not in upstreams({"vllm": {}}, tmp_path)["vllm"].headers({})


def test_the_keys_place_is_the_vendors() -> None:
    for wire, name in (("anthropic", "x-api-key"), ("gemini", "x-goog-api-key")):
        upstream = Upstream(wire, wire, "https://x", None, key=KEY)  # type: ignore[arg-type]
        assert upstream.headers({})[name] == KEY
    azure = Upstream("azure", "chat", "https://x", None, key=KEY)  # type: ignore[arg-type]
    assert azure.headers({})["api-key"] == KEY


@pytest.mark.parametrize("size", [1, 2, 5, 22, 1000])
def test_a_stream_goes_on_without_the_key_in_any_pieces(size: int) -> None:
    data = f"sk-team {KEY}{KEY} sk-team-key-01234 {KEY[:-1]}".encode()
    scrubber = StreamScrubber(KEY)
    shown = b"".join(scrubber.feed(data[n : n + size]) for n in range(0, len(data), size)) + scrubber.flush()
    assert shown == data.replace(KEY.encode(), b"********")
    assert StreamScrubber(KEY).feed(b"data: hello\n\n") == b"data: hello\n\n"  # nothing waits without a reason
    assert StreamScrubber("").feed(b"x") == b"x"


def test_headers_of_answers_are_a_list() -> None:
    upstream = Upstream("openai", "openai", "https://x", None)  # type: ignore[arg-type]
    passed = upstream.answer_headers(
        {
            "Content-Type": "a",
            "Retry-After": "5",
            "X-RateLimit-Remaining-Tokens": "5",
            "anthropic-ratelimit-x": "1",
            "Set-Cookie": "a=b",
            "openai-organization": "org",
            "Location": "x",
            "Transfer-Encoding": "chunked",
            "Content-Encoding": "gzip",
            "Server": "x",
            "X-Po-Error": "budget_exceeded",
            "Access-Control-Allow-Origin": "*",
        }
    )
    assert sorted(name.lower() for name in passed) == [
        "anthropic-ratelimit-x",
        "content-type",
        "retry-after",
        "x-po-from",
        "x-ratelimit-remaining-tokens",
    ]


def test_a_key_in_the_headers_of_an_answer_does_not_go_on() -> None:
    upstream = Upstream("openai", "openai", "https://x", None, key=KEY)  # type: ignore[arg-type]
    passed = upstream.answer_headers({"x-request-id": f"for {KEY}", "content-type": "a", "openai-version": KEY})
    assert KEY not in str(passed) and passed["content-type"] == "a"


def test_a_key_that_an_error_is_cut_in_does_not_go_on() -> None:
    """Of a long error its beginning is passed on; the key may be where it ends."""
    upstream = Upstream("openai", "openai", "https://x", None, key=KEY)  # type: ignore[arg-type]
    for size in range(1, len(KEY)):
        body = b"x" * (MAX_ERROR - size) + KEY[:size].encode()
        assert not upstream.scrubbed(body, is_cut=is_cut(400, body)).endswith(KEY[:size].encode())
    assert upstream.scrubbed(KEY[:5].encode()) == KEY[:5].encode()  # a whole body ends as it ends


@pytest.mark.integration
async def test_a_proxy_that_refuses_the_way_costs_nothing() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connections = VendorConnections(lambda: 10)
    upstream = Upstream(
        "openai", "openai", "https://api.example", None, proxy=f"http://127.0.0.1:{port}", key=KEY  # type: ignore[arg-type]
    )  # fmt: skip
    try:
        with pytest.raises(NeverSent):
            await connections.send(upstream, "POST", upstream.url("/x"), headers={}, data=b"{}")
    finally:
        await connections.close()
        server.close()
