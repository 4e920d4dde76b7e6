"""OpenAI: the choice between its two APIs, and the way from Responses to Chat Completions (R2.7)."""

import json

import pytest
import structlog

from po_jupyter.errors import ModelError, ModelRefused, ModelUnavailable
from po_jupyter.llm.calls.journal import MemoryJournal
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.providers.openai.client import api_for, make_azure, unknown_to_responses
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.specs import specs
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.testing.model_server import ModelServer, Reply

pytestmark = pytest.mark.integration

KEY = "sk-fault-0a1b2c3d4e5f6a7b8c9d"


@pytest.fixture
def server():
    with ModelServer(key=KEY) as running:
        yield running


@pytest.fixture
async def providers(server):
    opened = Providers({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.base_url})
    yield opened
    await opened.aclose()


@pytest.fixture(params=["whole", "stream"])
def on_text(request):
    return (lambda piece: None) if request.param == "stream" else None


def ask(model, **more):
    return ChatRequest(model, (Message("user", "hello there"),), **more)


async def called(providers, model, *, attempts=3, on_text=None, waits=None, **more):
    """One logical call, with its retries."""
    retry = CallRetry(max_attempts=attempts, initial_delay=0.001, max_delay=0.002)
    chat = JournaledChat(providers.get, MemoryJournal(), retry_after_cap=0.05)
    return await chat.scope("t").chat(
        ask(model, **more),
        retry=retry,
        on_text=on_text,
        on_wait=lambda *wait: waits.append(wait) if waits is not None else None,
    )


@pytest.mark.parametrize(
    ("model", "api"), [("gpt-5", "responses"), ("gpt-12", "responses"), ("gpt-4.1", "chat")]
)
def test_the_api_of_a_request_comes_with_its_reason(model, api):
    assert api_for(ask(f"openai:{model}"))[0] == api
    assert api_for(ask(f"openai:{model}", api="chat")) == ("chat", "llm.api is chat")


NO_RESPONSES = {
    "no such route": Reply(status=404, body=b"404 page not found", content_type="text/plain"),
    "no such route, in JSON": Reply(status=404, body=b'{"detail": "Not Found"}'),
    "no such method": Reply(status=405, body=b'{"detail": "Method Not Allowed"}'),
    "not implemented": Reply(status=501, body=b"{}"),
    "a model of the other API": Reply(
        status=400,
        body=json.dumps(
            {
                "error": {
                    "message": "This model is only supported in v1/chat/completions and not in v1/responses."
                }
            }
        ).encode(),
    ),
}
OTHER_ERRORS = {
    "no such model": Reply(
        status=404, body=b'{"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}'
    ),
    "no such model, by vLLM": Reply(
        status=404, body=b'{"error": {"message": "The model `x` does not exist.", "code": 404}}'
    ),
    "a bad request": Reply(
        status=400, body=b'{"error": {"message": "Invalid value", "code": "invalid_value"}}'
    ),
    "too long": Reply(status=400, body=b'{"error": {"message": "x", "code": "context_length_exceeded"}}'),
    "no key": Reply(status=401, body=b"{}"),
}


@pytest.mark.parametrize("fault", NO_RESPONSES)
async def test_a_server_without_responses_is_asked_the_other_way_from_then_on(
    server, providers, on_text, fault
):
    """R2.7: the failed request counts as an attempt, and the next one follows at once."""
    server.reply = lambda body, n: NO_RESPONSES[fault] if "input" in body else Reply()
    waits = []
    response = await called(providers, "openai:gpt-5-mini", attempts=2, on_text=on_text, waits=waits)
    assert (response.text, response.api) == ("echo: hello there", "chat")
    assert [r.path.rpartition("/")[2] for r in server.requests] == ["responses", "completions"]
    ((_, delay, error),) = waits
    assert delay == 0.0
    assert "from now on" in str(error)
    await called(providers, "openai:gpt-5-mini", attempts=1)
    assert len(server.requests) == 3


@pytest.mark.parametrize("fault", OTHER_ERRORS)
async def test_other_errors_are_no_reason_to_ask_elsewhere(server, providers, fault):
    """R2.7."""
    server.reply = OTHER_ERRORS[fault]
    with pytest.raises(ModelError) as caught:
        await called(providers, "openai:gpt-5-mini")
    assert len(server.requests) == 1
    assert not unknown_to_responses(caught.value)


@pytest.mark.parametrize("stays", [1, 3])
async def test_the_way_around_counts_as_an_attempt(server, providers, stays):
    """P7: never more than max_attempts requests, whatever fails."""
    server.reply = lambda body, n: NO_RESPONSES["no such route"] if "input" in body else Reply(status=500)
    with pytest.raises(ModelUnavailable):
        await called(providers, "openai:gpt-5-mini", attempts=stays)
    assert len(server.requests) == stays


async def test_who_asks_for_responses_gets_its_errors(server, providers):
    server.reply = NO_RESPONSES["no such route"]
    with pytest.raises(ModelRefused):
        await called(providers, "openai:gpt-5-mini", api="responses")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("model", "more", "path"),
    [
        ("gpt-5-mini", {}, "responses"),
        ("gpt-5.2", {}, "responses"),
        ("gpt-4o", {}, "chat/completions"),
        ("o4-mini", {}, "chat/completions"),
        ("llama-3.3-70b", {}, "chat/completions"),
        ("gpt-oss-120b", {}, "chat/completions"),
        ("gpt-5-mini", {"api": "chat"}, "chat/completions"),
        ("gpt-4o", {"api": "responses"}, "responses"),
        ("gpt-5-mini", {"seed": 3}, "chat/completions"),
        ("gpt-5-mini", {"seed": 3, "api": "responses"}, "responses"),
    ],
)
async def test_the_api_is_chosen_by_model_and_setting_and_logged_with_its_reason(
    server, providers, model, more, path
):
    """R2.7."""
    with structlog.testing.capture_logs() as lines:
        await called(providers, f"openai:{model}", **more)
        await called(providers, f"openai:{model}", **more)
    assert {r.path for r in server.requests} == {f"/v1/{path}"}
    (line,) = lines
    assert line["event"] == "api chosen"
    assert line["api"] == path.partition("/")[0]
    assert line["reason"]


async def test_both_apis_answer_alike(server, providers):
    """R2.7: what one pipeline sees does not depend on the API that was used."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    for more in ({}, {"json": True}, {"schema": schema}, {"max_tokens": 40, "temperature": 0.3}):
        chat, responses = [
            await called(providers, "openai:gpt-4o", api=api, **more) for api in ("chat", "responses")
        ]
        assert chat.text == responses.text
        assert chat.usage.output_tokens == responses.usage.output_tokens
        assert chat.finish == responses.finish
        assert chat.model == responses.model


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        ("https://r.openai.azure.com", "https://r.openai.azure.com/openai/v1"),
        ("https://r.openai.azure.com/", "https://r.openai.azure.com/openai/v1"),
        ("https://r.openai.azure.com/openai", "https://r.openai.azure.com/openai/v1"),
        ("https://r.openai.azure.com/openai/v1/", "https://r.openai.azure.com/openai/v1"),
        ("'https://r.openai.azure.com'", "https://r.openai.azure.com/openai/v1"),
    ],
)
def test_azures_endpoint_becomes_the_address_of_its_v1_api(endpoint, base):
    environ = {"AZURE_OPENAI_API_KEY": "k" * 20, "AZURE_OPENAI_ENDPOINT": endpoint}
    provider = make_azure(ProviderContext(specs()["azure"], environ, None))
    assert (provider.name, provider._endpoint.base_url) == ("azure", base)


def test_azure_without_an_endpoint_says_what_to_set():
    context = ProviderContext(specs()["azure"], {"AZURE_OPENAI_API_KEY": "k" * 20}, None)
    with pytest.raises(ModelRefused, match="AZURE_OPENAI_ENDPOINT is not set"):
        make_azure(context)


async def test_an_unknown_model_is_refused_with_the_one_that_was_meant(server, providers):
    body = (
        b'{"error": {"message": "no such model", "code": "model_not_found", "type": "invalid_request_error"}}'
    )
    server.enqueue(Reply(status=404, body=body, content_type="application/json"))
    chat = JournaledChat(providers.get, MemoryJournal())
    with pytest.raises(ModelRefused) as caught:
        await chat.scope("a").chat(ask("openai:gpt5-mini"))
    assert caught.value.hint.startswith("Did you mean openai:gpt-5-mini?")


@pytest.mark.integration
@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_organization_and_project_of_the_environment_are_sent(api):
    """As OpenAI's own SDK does; with quotes that a file of variables kept."""
    with ModelServer(key=KEY) as server:
        environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.base_url}
        account = {"OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": " 'proj_2' "}
        for more in (account, {"OPENAI_ORG_ID": " "}):
            opened = Providers({**environ, **more})
            await opened.get("openai:m").chat(ask("openai:m", api=api))
            await opened.aclose()
        named, plain = (request.headers for request in server.requests)
    assert (named["openai-organization"], named["openai-project"]) == ("org-1", "proj_2")
    assert not {"openai-organization", "openai-project"} & {*plain}


async def test_an_organization_that_is_no_header_is_named():
    opened = Providers({"OPENAI_API_KEY": KEY, "OPENAI_ORG_ID": "org\nx: y"})
    with pytest.raises(ModelRefused, match="OPENAI_ORG_ID"):
        opened.get("openai:m")
