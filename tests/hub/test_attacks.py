"""The attack table of the gateway (issue 12, "Done when" 5): each row is refused, or does no harm, in a test."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from po_jupyter.hub.identity import HubUser, RememberedTokens, TokenTable
from po_jupyter.hub.wires import bodies
from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.hub import KEY, USERS, GatewayClient, running

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
CHAT = "openai/v1/chat/completions"
HELLO = {"model": "gpt-5-mini", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    tmp_path_factory: pytest.TempPathFactory, server: ModelServer
) -> AsyncIterator[GatewayClient]:
    folder = tmp_path_factory.mktemp("gateway")
    async with running(folder, server.root_url, limits={"users": {"alice": {"usd_per_day": 40}}}) as client:
        yield client


# -- who one is -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        ("", 401, "unauthorized"), ("nobody", 401, "unauthorized"), ("guest-token", 403, "no_access"),
        ("alice-token bob-token", 401, "unauthorized"), (KEY, 401, "unauthorized"), ("x" * 5000, 401, "unauthorized"),
    ],
)  # fmt: skip
async def test_a_token_that_is_none_or_lacks_the_scope_reaches_no_vendor(
    gateway: GatewayClient, vendor: ModelServer, token: str, status: int, code: str
) -> None:
    answered, body, headers = await gateway.ask("POST", CHAT, HELLO, token=token)
    assert (answered, headers["X-Po-Error"], body["error"]["code"]) == (status, code, code)
    assert vendor.requests == [] and not (token and token in json.dumps(body))


async def test_two_tokens_in_one_request_are_refused(gateway: GatewayClient, vendor: ModelServer) -> None:
    """Whose call it would be depends on who reads which header."""
    status, body, _ = await gateway.ask("POST", CHAT, HELLO, token="alice-token", x_api_key="bob-token")
    assert status == 401 and body["error"]["code"] == "unauthorized" and vendor.requests == []


async def test_a_token_in_the_query_or_in_a_cookie_is_none(gateway: GatewayClient, vendor: ModelServer) -> None:
    assert (await gateway.ask("POST", f"{CHAT}?token=alice-token", HELLO, token=""))[0] == 401
    assert (await gateway.ask("POST", f"{CHAT}?key=alice-token", HELLO))[0] == 404
    for name in ("po-session", "service-po", "jupyterhub-services"):
        assert (await gateway.ask("POST", CHAT, HELLO, token="", Cookie=f"{name}=alice-token"))[0] == 401
    assert (await gateway.ask("GET", "api/usage", token="", Cookie="po-session=alice-token"))[0] == 401
    assert vendor.requests == []


async def test_an_expired_or_revoked_token_ends_within_the_time_it_is_remembered() -> None:
    now = 0.0
    table = TokenTable(USERS)
    remembered = RememberedTokens(table, clock=lambda: now)
    assert await remembered.user_for_token("alice-token") is not None
    del table.users["alice-token"]
    now = 59.0
    assert await remembered.user_for_token("alice-token") is not None
    now = 60.5
    assert await remembered.user_for_token("alice-token") is None


async def test_a_refused_token_that_becomes_one_is_known_after_seconds() -> None:
    """A token that was renewed must not be refused for a minute."""
    now = 0.0
    table = TokenTable({})
    remembered = RememberedTokens(table, clock=lambda: now)
    assert await remembered.user_for_token("new") is None
    table.users["new"] = HubUser("alice")
    now = 5.5
    assert await remembered.user_for_token("new") == HubUser("alice")


async def test_the_table_of_tokens_does_not_grow_with_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("po_jupyter.hub.identity._MOST", 100)
    remembered = RememberedTokens(TokenTable({}))
    for n in range(1000):
        await remembered.user_for_token(f"guess-{n}")
    assert len(remembered._refused) == 100 and not remembered._known


async def test_forwarded_headers_and_hosts_change_nothing(gateway: GatewayClient, vendor: ModelServer) -> None:
    forged = {
        "X_Forwarded_For": "127.0.0.1", "X_Forwarded_Host": "evil.example", "X_Forwarded_Prefix": "/evil",
        "X_Forwarded_User": "root", "X_Remote_User": "root", "X_JupyterHub_User": "root", "Forwarded": "for=root",
        "Host": "evil.example", "X_Original_URL": "/services/po/api/admin/usage", "X_HTTP_Method_Override": "PUT",
        "Authorization_": "Bearer admin-token",
    }  # fmt: skip
    status, usage, _ = await gateway.ask("GET", "api/usage", **forged)
    assert (status, usage["user"]) == (200, "alice")
    assert (await gateway.ask("GET", "api/admin/usage", **forged))[0] == 403
    assert (await gateway.ask("POST", CHAT, HELLO, **forged))[0] == 200
    (request,) = vendor.requests
    assert request.headers["host"].startswith("127.0.0.1:") and "root" not in json.dumps(request.headers)


async def test_only_known_headers_reach_the_vendor(gateway: GatewayClient, vendor: ModelServer) -> None:
    sent = {
        "Cookie": "a=b", "OpenAI_Organization": "org-evil", "OpenAI_Project": "proj", "Idempotency_Key": "of-bob",
        "anthropic_beta": "context-1m", "x_client_request_id": "req-1", "Proxy_Authorization": "Basic eA==",
        "Accept_Encoding": "gzip, br", "Connection": "keep-alive, x-secret", "Expect_": "100", "User_Agent": "me",
    }  # fmt: skip
    assert (await gateway.ask("POST", CHAT, HELLO, **sent))[0] == 200
    (request,) = vendor.requests
    assert set(request.headers) == {
        "host", "authorization", "accept", "accept-encoding", "user-agent", "content-type", "content-length",
        "x-client-request-id",
    }  # fmt: skip
    assert (
        request.headers["authorization"] == f"Bearer {KEY}" and request.headers["accept-encoding"] == "identity"
    )


# -- where one goes -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "path",
    [
        "openai/v1/../v1/chat/completions", "openai/v1/%2e%2e/admin/keys", "openai//v1/chat/completions",
        "openai/v1//chat/completions", "openai/v1/chat%2fcompletions", "openai/v1/chat/completions/",
        "openai/v1/chat/completions%00", "openai/v1/chat/completions;x", "openai/v1/v1/chat/completions",
        "openai/v1/organization/api_keys", "openai/v1/fine_tuning/jobs", "openai/v1/responses/resp_1",
        "openai/v1/chat/completions/chatcmpl-1", "openai/v1/assistants", "openai/v1/vector_stores", "openai/",
        "openai", "OPENAI/v1/chat/completions", "openai.evil/v1/chat/completions", "openai@evil/v1/chat/completions",
        "anthropic/v1/organizations/x", "anthropic/v1/messages/../files", "anthropic/v1/complete",
        "gemini/v1beta/models/gemini-2.5-flash:batchGenerateContent?key=x", "gemini/v1beta/cachedContents",
        "gemini/v1beta/tunedModels/x:generateContent", "gemini/v1beta/models/../x:generateContent",
        "gemini/v1beta/models/gemini%2D2.5-flash:generateContent", "gemini/upload/v1beta/files?uploadType=resumable",
        "gemini/upload/v1beta/files/x", "gemini/download/v1beta/files/x", "gemini/v1beta/files/x/content",
        "gemini/download/v1beta/files/x:download?alt=json", "gemini/v1beta/batches/x:delete", "gemini/v1beta/files",
        "gemini/v1beta/batches/../files/x", "gemini/v1beta/batches?pageToken=%2e", "mistral/v1/batch/jobs/x/results",

        "gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent", "mistral/v1/batches",
        "mistral/v1/fine_tuning/jobs", "mistral/v1/batch/jobs/a.b",
        "nobody/v1/chat/completions",
        "mistral/v1/responses", "../services/po/openai/v1/chat/completions",
        "//evil.example/openai/v1/chat/completions",
    ],
)  # fmt: skip
async def test_a_path_that_is_not_on_the_list_reaches_no_vendor(
    gateway: GatewayClient, vendor: ModelServer, path: str
) -> None:
    for method in ("POST", "GET", "PUT", "DELETE"):
        head = f"{method} /services/po/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice-token\r\n"
        answer = await gateway.raw(
            f"{head}Content-Length: {len(json.dumps(HELLO))}\r\n\r\n{json.dumps(HELLO)}".encode()
        )
        assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.0 400 ", b"HTTP/1.1 400 ")), answer
    assert vendor.requests == []


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/services/po/openai/v1/chat/completions", "https://evil.example/", "evil.example:443", "*",
        "/services/po", "/services/pool/openai/v1/chat/completions", "/hub/api/users", "/", "/services/po/api/",
        "/user/bob/services/po/openai/v1/chat/completions",
    ],
)  # fmt: skip
async def test_a_target_outside_of_the_prefix_is_nothing(
    gateway: GatewayClient, vendor: ModelServer, target: str
) -> None:
    method = "CONNECT" if target.endswith(":443") else "POST"
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice-token\r\n"
    answer = await gateway.raw(f"{head}Content-Length: 0\r\n\r\n".encode())
    assert answer.split(b" ")[1][:1] == b"4" and vendor.requests == []


async def test_no_request_chooses_the_vendors_address(gateway: GatewayClient, vendor: ModelServer) -> None:
    """SSRF: addresses come from the configuration alone, and redirects are not followed."""
    for field in ("base_url", "api_base", "url", "webhook", "provider", "models", "route", "plugins"):
        status, body = await gateway.chat(**{field: "http://169.254.169.254/latest"})
        assert status == 400 and field in body["error"]["message"]
    assert vendor.requests == []
    with ModelServer() as other:
        for status in (301, 302, 307, 308):
            vendor.enqueue(Reply(status=status, headers={"location": f"{other.base_url}/chat/completions"}))
            answered, body = await gateway.chat()
            assert (answered, body["error"]["code"]) == (503, "vendor_unavailable")
        assert other.requests == []


async def test_an_image_by_its_url_is_the_vendors_to_fetch(gateway: GatewayClient) -> None:
    """The gateway asks nobody for it, and passes none on to a server within the team's network, which would."""
    with ModelServer() as inside:
        image = {"type": "image_url", "image_url": {"url": f"{inside.root_url}/secret.png"}}
        status, answer = await gateway.chat(messages=[{"role": "user", "content": [image]}])
        assert status == 400 and "base64" in str(answer) and inside.open_connections() == 0


# -- what one sends -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked", "Transfer-Encoding : chunked", "Content-Length: +5", "Content-Length: 0x5",
        "Content-Length: -1", "X: a\r\n b\r\nContent-Length: 5", "X-A: b\nContent-Length: 5", "X: \x00",
    ],
)  # fmt: skip
async def test_a_request_with_two_lengths_is_refused(
    gateway: GatewayClient, vendor: ModelServer, headers: str
) -> None:
    """Smuggling: whatever stands behind the first request is not a second one that reaches the vendor."""
    inner = f"POST /services/po/{CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}"
    await gateway.raw(
        f"POST /services/po/{CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice-token\r\n{headers}\r\n\r\n"
        f"0\r\n\r\n{inner}".encode("latin-1")
    )
    assert vendor.requests == []


async def test_a_header_cannot_be_smuggled_to_the_vendor(gateway: GatewayClient, vendor: ModelServer) -> None:
    for value in ("a\tb", "a;b", "a b", "é", "a" * 300):
        assert (await gateway.ask("POST", CHAT, HELLO, x_client_request_id=value))[0] == 200
    for field in ("model", "user"):
        await gateway.chat(**{field: "gpt-5-mini\r\nX-Evil: 1"})
    assert all(not {"x-evil", "x-client-request-id"} & set(r.headers) for r in vendor.requests)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o", "GPT-5-MINI-2025", "gpt-5-mini-2025-08-07", "openai:gpt-4o", "gpt-5-mini\x00", "gpt-5\u2010mini",
        "ｇｐｔ-5-mini", "gpt-5-mini/../gpt-4o", "ft:gpt-5-mini", "models/gpt-4o", "", " ", None, 5, ["gpt-5-mini"],
        {"a": 1}, "small:x", "anthropic:claude-haiku-4-5", "claude-haiku-4-5", "gpt-5",
    ],
)  # fmt: skip
async def test_a_model_outside_of_the_list_is_refused(
    tmp_path: Path, vendor: ModelServer, model: object
) -> None:
    limits = {"each_user": {"models": ["small"]}}
    async with running(tmp_path, vendor.root_url, limits=limits) as gateway:
        status, body = await gateway.chat(model=model)
        assert status in (400, 403) and vendor.requests == []
        if status == 403:
            assert (
                body["error"]["code"] == "model_not_allowed" and "openai:gpt-5-mini" in body["error"]["message"]
            )


@pytest.mark.parametrize(
    "model", ["gpt-5-mini", "GPT-5-Mini", "  gpt-5-mini ", "openai:gpt-5-mini", "small", "SMALL"]
)
async def test_a_model_of_the_list_goes_out_as_the_list_has_it(
    gateway: GatewayClient, vendor: ModelServer, model: str
) -> None:
    status, _ = await gateway.chat(model=model)
    assert status == 200 and vendor.requests[-1].body["model"] == "gpt-5-mini"


async def test_a_model_in_geminis_path_is_checked_as_well(gateway: GatewayClient, vendor: ModelServer) -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}], "model": "models/gemini-2.5-pro"}
    status, answer, _ = await gateway.ask("POST", "gemini/v1beta/models/gemini-2.5-flash:generateContent", body)
    assert status == 400 and "model" in answer["error"]["message"]
    del body["model"]
    for model, expected in (("gemini-2.5-pro", 403), ("GEMINI-2.5-FLASH", 200)):
        assert (await gateway.ask("POST", f"gemini/v1beta/models/{model}:generateContent", body))[0] == expected
    assert [r.path for r in vendor.requests] == ["/v1beta/models/gemini-2.5-flash:generateContent"]


LIES: list[tuple[dict[str, object], int | None]] = [
    # fields of a request, and the limit that goes out; None: refused
    ({"max_tokens": -1}, None), ({"max_tokens": 0}, None), ({"max_tokens": "10"}, None), ({"max_tokens": 1.5}, None),
    ({"max_tokens": True}, None), ({"max_tokens": 10**30}, None), ({"max_tokens": [1]}, None),
    ({"n": 0}, None), ({"n": -5}, None), ({"n": 10**6}, None), ({"n": "3"}, None), ({"n": 2.0}, None),
    ({"best_of": 1000}, None), ({"max_tokens": 20, "max_completion_tokens": 100_000}, 20),
    ({"max_tokens": 100_000, "max_completion_tokens": 30}, 30), ({"max_tokens": None}, 32_768),
    ({"max_output_tokens": 5}, None), ({"MAX_TOKENS": 5}, None), ({"service_tier": "priority"}, None),
    ({"modalities": ["text", "audio"]}, None), ({"audio": {"voice": "x"}}, None), ({"web_search_options": {}}, None),
    ({"tools": [{"type": "web_search"}]}, None), ({"prediction": {"type": "content", "content": "x" * 1000}}, None),
    ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]}, None),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, None),
    ({"stream": "yes"}, None), ({"stream": 1}, 50),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "limit"), LIES)
async def test_a_limit_that_lies_is_bounded_or_refused(
    gateway: GatewayClient, vendor: ModelServer, fields: dict[str, object], limit: int | None
) -> None:
    status, body = await gateway.chat(**fields)
    if limit is None:
        assert status == 400 and body["error"]["code"] == "invalid_request" and vendor.requests == []
    else:
        sent = vendor.requests[-1].body
        assert status == 200
        assert {k: v for k, v in sent.items() if "token" in k} == {"max_completion_tokens": limit}


VECTORS, GEMINI_VECTORS = "openai/v1/embeddings", "gemini/v1beta/models/gemini-embedding-001"
TEXT: dict[str, object] = {"content": {"parts": [{"text": "x"}]}}
EMBEDDINGS: list[tuple[str, dict[str, object], int]] = [
    (VECTORS, {"model": "text-embedding-3-large"}, 403), (VECTORS, {"model": "models/text-embedding-3-large"}, 403),
    (VECTORS, {"model": None}, 400), (VECTORS, {"model": ["text-embedding-3-small"]}, 400),
    (VECTORS, {"input": None}, 400), (VECTORS, {"input": []}, 400), (VECTORS, {"input": ""}, 400),
    (VECTORS, {"input": [{"type": "image_url", "image_url": {"url": "https://x"}}]}, 400),
    (VECTORS, {"input": {"image": "x"}}, 400), (VECTORS, {"input": [["x"]]}, 400), (VECTORS, {"input": [-1]}, 400),
    (VECTORS, {"input": [True]}, 400), (VECTORS, {"input": [1.5]}, 400), (VECTORS, {"input": ["x"] * 257}, 400),
    (VECTORS, {"input": [[]]}, 400), (VECTORS, {"stream": True}, 400), (VECTORS, {"service_tier": "priority"}, 400),
    (VECTORS, {"dimensions": -1}, 400), (VECTORS, {"dimensions": 10**9}, 400), (VECTORS, {"dimensions": "1"}, 400),
    (VECTORS, {"max_tokens": 5}, 400), (VECTORS, {"messages": [{"role": "user", "content": "x"}]}, 400),
    (f"{VECTORS}?x=1", {}, 404), (f"{VECTORS}/", {}, 404),
    ("anthropic/v1/embeddings", {}, 404), ("gemini/v1beta/embeddings", {}, 404),
    (f"{GEMINI_VECTORS}:embedContent?key=AIza", TEXT, 404), (f"{GEMINI_VECTORS}:asyncBatchEmbedContent", TEXT, 404),
    (f"{GEMINI_VECTORS}:embedContent", {**TEXT, "model": "models/gemini-embedding-2"}, 400),
    (f"{GEMINI_VECTORS}:embedContent", {"content": {"parts": [{"inlineData": {}}]}}, 400),
    (f"{GEMINI_VECTORS}:embedContent", {"content": {"parts": [{"text": ["x"]}]}}, 400),
    (f"{GEMINI_VECTORS}:embedContent", {"content": "x"}, 400), (f"{GEMINI_VECTORS}:embedContent", {}, 400),
    (f"{GEMINI_VECTORS}:embedContent", {**TEXT, "output_dimensionality": 10**9}, 400),
    (f"{GEMINI_VECTORS}:embedContent", {**TEXT, "cachedContent": "cachedContents/x"}, 400),
    ("gemini/v1beta/models/gemini-embedding-2:embedContent", TEXT, 403),
    (f"{GEMINI_VECTORS}:batchEmbedContents", {"requests": []}, 400),
    (f"{GEMINI_VECTORS}:batchEmbedContents", {"requests": [TEXT] * 257}, 400),
    (f"{GEMINI_VECTORS}:batchEmbedContents", {"requests": [TEXT], "content": TEXT["content"]}, 400),
    (f"{GEMINI_VECTORS}:batchEmbedContents", {"requests": [TEXT, {**TEXT, "model": "models/other"}]}, 400),
    (f"{GEMINI_VECTORS}:batchEmbedContents", {"requests": [TEXT, {**TEXT, "model": 5}]}, 400),
    (f"{GEMINI_VECTORS}:batchEmbedContents", {"requests": "x"}, 400),
]  # fmt: skip


@pytest.mark.parametrize(("path", "fields", "expected"), EMBEDDINGS)
async def test_embeddings_are_no_way_around_anything(
    gateway: GatewayClient, vendor: ModelServer, path: str, fields: dict[str, object], expected: int
) -> None:
    body = {"model": "text-embedding-3-small", "input": "x", **fields} if "gemini" not in path else fields
    before = await gateway.reserved(), await gateway.spent()
    for token in ("", "guest-token"):
        assert (await gateway.ask("POST", path, body, token=token))[0] in (401, 403)
    status, answer, _ = await gateway.ask("POST", path, body)
    assert (status, vendor.requests) == (expected, []), answer
    assert before == (await gateway.reserved(), await gateway.spent())


async def test_a_key_that_comes_twice_is_read_once_by_both(gateway: GatewayClient, vendor: ModelServer) -> None:
    """Duplicates: the vendor sees the value that was reserved for, whichever of two it would have taken."""
    twice = '"model":"gpt-4o","model":"gpt-5-mini","max_tokens":9,"max_tokens":7'
    text = f'{{{twice},"messages":[{{"role":"user","content":"x"}}]}}'
    assert (await gateway.ask("POST", CHAT, text.encode()))[0] == 200
    sent = vendor.requests[-1].body
    assert sent["model"] == "gpt-5-mini" and sent["max_completion_tokens"] == 7


async def test_several_answers_are_reserved_for_each(gateway: GatewayClient) -> None:
    """n=100 of 50,000 tokens at $10 a million is $50, and a day has $40."""
    status, body = await gateway.chat(max_tokens=50_000, n=100)
    assert (status, body["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"{" * 100_000, b"[" * 200_000 + b"]" * 200_000,
        b'{"model":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}", b'{"model":NaN}', b'{"model":Infinity}',
        b'{"max_tokens":1e999,"model":"gpt-5-mini","messages":[]}', b'{"max_tokens":' + b"9" * 5000 + b"}",
        b'{"model":"gpt-5-mini","messages":' + b'[{"content":' * 20_000 + b"1" + b"}]" * 20_000 + b"}",
    ],
)  # fmt: skip
async def test_a_body_that_is_no_request_is_refused(
    gateway: GatewayClient, vendor: ModelServer, body: bytes
) -> None:
    status, answer, _ = await gateway.ask("POST", CHAT, body)
    assert status == 400 and answer["error"]["code"] == "invalid_request" and vendor.requests == []


async def test_an_oversized_body_is_refused_before_it_is_read(tmp_path: Path, vendor: ModelServer) -> None:
    async with running(tmp_path, vendor.root_url, more="max_body: 10000") as gateway:
        head = f"POST /services/po/{CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice-token\r\n"
        answer = await gateway.raw(f"{head}Content-Length: 10000000000\r\n\r\n{{".encode())
        assert b" 413 " in answer.split(b"\r\n")[0]
        status, _, _ = await gateway.ask("POST", CHAT, b" " * 10_001)
        assert status == 413
        chunks = b"".join(b"1000\r\n" + b" " * 0x1000 + b"\r\n" for _ in range(5)) + b"0\r\n\r\n"
        answer = await gateway.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks)
        assert b" 413 " in answer.split(b"\r\n")[0]
    assert vendor.requests == []


async def test_a_slow_body_is_given_up(
    gateway: GatewayClient, vendor: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_SECONDS", 0.2)
    host, _, port = gateway.url.removeprefix("http://").partition("/")[0].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /services/po/{CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice-token\r\n"
    writer.write(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
    writer.close()
    assert b" 408 " in answer and vendor.requests == []


async def test_a_compressed_bomb_is_refused_packed(gateway: GatewayClient, vendor: ModelServer) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    for encoding in ("gzip", "deflate", "br", "zstd", "x-gzip", "gzip, gzip"):
        status, _, _ = await gateway.ask("POST", CHAT, bomb, Content_Encoding=encoding)
        assert status == 415
    assert vendor.requests == []


# -- what comes back ------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 529])
async def test_a_vendor_that_writes_the_key_into_an_error_does_not_give_it_away(
    gateway: GatewayClient, vendor: ModelServer, status: int
) -> None:
    vendor.enqueue(
        Reply(
            status=status,
            error=f"Incorrect key {KEY}",
            headers={"x-request-id": "1", "x-key": KEY, "set-cookie": "a=b"},
        )
    )
    answered, body, headers = await gateway.ask("POST", CHAT, HELLO)
    assert answered == status and KEY not in json.dumps(body) and "********" in json.dumps(body)
    assert KEY not in str(headers) and "set-cookie" not in {name.lower() for name in headers}


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_of_the_teams_key_is_not_the_users(
    gateway: GatewayClient, vendor: ModelServer, status: int
) -> None:
    """A run would take it for its own key's, and end."""
    vendor.enqueue(Reply(status=status, error=f"bad key {KEY}"))
    answered, body, headers = await gateway.ask("POST", CHAT, HELLO)
    assert (answered, headers["X-Po-Error"]) == (503, "vendor_unavailable") and KEY not in json.dumps(body)


async def test_a_stream_that_echoes_the_key_in_pieces_does_not_give_it_away(
    gateway: GatewayClient, vendor: ModelServer
) -> None:
    vendor.enqueue(Reply(body=f'data: {{"x": "{KEY}"}}\n\n'.encode() * 3, content_type="text/event-stream"))
    status, text, _ = await gateway.ask("POST", CHAT, {**HELLO, "stream": True})
    assert status == 200 and KEY not in text and text.count("********") == 3


async def test_the_key_is_in_no_repr(gateway: GatewayClient) -> None:
    shown = (
        f"{gateway.state.upstreams} {gateway.state.config!r} {vars(gateway.gateway)} {gateway.state.models!r}"
    )
    assert KEY not in shown


# -- administrators -------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["usage", "limits", "metrics", "usage?by=user&format=csv"])
async def test_only_administrators_see_others(gateway: GatewayClient, path: str) -> None:
    for token, expected in (("alice-token", 403), ("guest-token", 403), ("", 401), ("admin-token", 200)):
        assert (await gateway.ask("GET", f"api/admin/{path}", token=token))[0] == expected
    assert (await gateway.ask("PUT", "api/admin/limits", {}))[0] == 403
