"""Bedrock over HTTP: keys, signatures, regions, and errors that say what to do."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from po_jupyter.errors import ModelError, ModelKeyError, ModelRateLimited, ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.providers.short_lived import EXPIRES
from po_jupyter.llm.specs import load_factory, specs
from po_jupyter.llm.wire.http import Http
from po_jupyter.testing.model_server import ModelServer, Reply

pytestmark = pytest.mark.integration
MODEL = "bedrock:us.amazon.nova-lite-v1:0"
SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00"
LOGIN = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": "tok-en",
}
REGION = {"AWS_REGION": "eu-west-1"}


def ask(model: str = MODEL) -> ChatRequest:
    return ChatRequest(model, (Message("user", "hi"),))


async def chat(
    server: ModelServer, environ: dict[str, str], *, model: str = MODEL, stream: bool = False
) -> Any:
    providers = Providers({"BEDROCK_BASE_URL": server.root_url, **REGION, **environ})
    try:
        return await providers.get(model).chat(ask(model), on_text=(lambda text: None) if stream else None)
    finally:
        await providers.aclose()


@pytest.mark.parametrize(
    "model", [MODEL, "bedrock:arn:aws:bedrock:eu-west-1:1:inference-profile/eu.amazon.nova-lite-v1:0"]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_is_signed_with_the_login(model: str, stream: bool) -> None:
    """The server makes the signature anew of what arrived: path, region, service, body."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    with ModelServer() as server:
        response = await chat(server, LOGIN, model=model, stream=stream)
        (request,) = server.requests
        assert response.text == "echo: hi"
        headers = request.headers
        assert "/eu-west-1/bedrock/aws4_request" in headers["authorization"]
        assert headers["x-amz-security-token"] == "tok-en"
        assert SECRET not in json.dumps(headers) + json.dumps(request.body)
        assert request.path.count("/") == 3
        body = json.dumps(request.body, separators=(",", ":"), ensure_ascii=False).encode()
        again = AWSRequest(
            "POST", server.root_url + request.path, {"content-type": "application/json"}, data=body
        )
        again.context["timestamp"] = headers["x-amz-date"]
        again.headers["X-Amz-Date"] = headers["x-amz-date"]
        again.headers["X-Amz-Security-Token"] = "tok-en"
        signer = SigV4Auth(Credentials(*LOGIN.values()), "bedrock", "eu-west-1")
        text = signer.string_to_sign(again, signer.canonical_request(again))
        assert headers["authorization"].endswith(f"Signature={signer.signature(text, again)}")


async def test_a_key_of_bedrocks_own_goes_out_as_it_is() -> None:
    with ModelServer(key="bedrock-api-key-0123456789") as server:
        await chat(server, {"AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key-0123456789", **LOGIN})
        assert server.requests[0].headers["authorization"] == "Bearer bedrock-api-key-0123456789"
        assert "x-amz-date" not in server.requests[0].headers


async def test_without_a_region_it_says_which_variable() -> None:
    providers = Providers(LOGIN)
    with pytest.raises(ModelRefused, match="AWS_REGION is not set") as caught:
        providers.get(MODEL)
    assert "us-east-1" in caught.value.hint
    for region in ("../x", "a.evil.example/", "x y", "é"):
        with pytest.raises(ModelRefused, match="AWS_REGION"):
            Providers({**LOGIN, "AWS_REGION": region}).get(MODEL)
    await providers.aclose()


@pytest.mark.parametrize("name", ["../x", "a b", "m?x=1", "-x", "ü", "x" * 3000])
async def test_a_name_that_is_none_is_refused(name: str) -> None:
    """P6."""
    http = Http()
    context = ProviderContext(specs()["bedrock"], {**REGION, **LOGIN}, http)
    provider = load_factory(context.spec)(context)
    with pytest.raises(ModelRefused, match="not the name of a model"):
        await provider.chat(ask(f"bedrock:{name}"))
    await http.aclose()


def amazon(status: int, kind: str, message: str, **headers: str) -> Reply:
    body = json.dumps({"message": message}).encode()
    return Reply(status=status, headers={"x-amzn-errortype": kind, **headers}, body=body)


SCOPE = "Credential should be scoped to a valid region."
NO_DEMAND = "Invocation of model ID x with on-demand throughput isn't supported."
UNKNOWN = b'{"__type": "com.amazon#UnrecognizedClientException", "message": "no"}'
EARLIER = "Signature expired: 20261127T080000Z is now earlier than 20261127T081000Z (20261127T081500Z - 5 min.)"


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        (amazon(403, "InvalidSignatureException", EARLIER), ModelKeyError, "clock of this machine"),
        (amazon(403, "InvalidSignatureException", SCOPE), ModelKeyError, "another region"),
        (amazon(403, "AccessDeniedException", "You don't have access."), ModelKeyError, "bedrock:InvokeModel"),
        (amazon(400, "ValidationException", "The provided model identifier is invalid."), ModelRefused, "eu-west-1"),
        (amazon(400, "ValidationException", NO_DEMAND), ModelRefused, "inference profile"),
        (amazon(429, "ThrottlingException:http://internal/", "Too many tokens."), ModelRateLimited, ""),
        (amazon(429, "ModelNotReadyException", "It is being loaded."), ModelUnavailable, ""),
        (amazon(424, "ModelErrorException", "The model failed."), ModelUnavailable, ""),
        (amazon(408, "ModelTimeoutException", "Too slow."), ModelUnavailable, ""),
        (Reply(status=502, body=b"<html>Bad gateway</html>", content_type="text/html"), ModelUnavailable, ""),
        (Reply(status=400, body=b"\xff\xfe"), ModelRefused, ""),
        (Reply(status=403, body=UNKNOWN), ModelKeyError, ""),
    ],
)  # fmt: skip
async def test_errors_are_of_their_kind_and_say_what_to_do(
    reply: Reply, kind: type[ModelError], text: str
) -> None:
    with ModelServer() as server:
        server.enqueue(reply)
        with pytest.raises(kind) as caught:
            await chat(server, LOGIN)
    error = caught.value
    assert text in (error.hint or "")
    assert SECRET not in json.dumps(error.to_json())
    assert "page" not in error.details or reply.content_type == "text/html" or reply.body == b"\xff\xfe"


async def test_credentials_at_their_end_are_got_anew() -> None:
    """The error is worth another try, and the next try has new ones."""
    got = []

    async def get_key(provider: str) -> dict[str, str]:
        got.append(provider)
        return {**LOGIN, "AWS_SESSION_TOKEN": f"token-{len(got)}", EXPIRES: str(time.time() + 3600)}

    with ModelServer() as server:
        server.enqueue(
            amazon(403, "ExpiredTokenException", "The security token included in the request is expired")
        )
        providers = Providers({"BEDROCK_BASE_URL": server.root_url, **REGION}, get_key=get_key)
        await providers.prepare(MODEL)  # type: ignore[misc]
        provider = providers.get(MODEL)
        with pytest.raises(ModelUnavailable):
            await provider.chat(ask())
        await provider.chat(ask())
        await provider.chat(ask())
        await providers.aclose()
        tokens = [request.headers["x-amz-security-token"] for request in server.requests]
    assert tokens == ["token-1", "token-2", "token-2"]
