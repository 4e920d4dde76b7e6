"""Batch APIs on the wire, judged by the vendors' own SDKs (G4; done when 1 of the third issue).

The SDKs' clients work with the loopback server, so its answers are what the vendors' would be; and what we send they
would accept. References and dates are in `llm/batches` and `testing/batch_server.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import AnswerTruncated, ModelError, ModelKeyError, ModelRefused, ModelUnavailable
from po_jupyter.llm.batches.protocol import Batches, BatchSearch, BatchStatus, batch_api_of
from po_jupyter.llm.calls.journal import MemoryJournal
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.money.pricing import LIST_PRICES
from po_jupyter.llm.providers.refs import batch_problem
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.wire.http import Http
from po_jupyter.testing.model_server.batches import BatchServer, Fault
from po_jupyter.testing.model_server.wire import Reply
from tests.support import sdk_types as sdk

pytestmark = pytest.mark.integration

KEY = "sk-wire-0123456789abcdef"
TOKEN = "po0123456789abcdef"
MODELS = {
    "chat": "openai:gpt-4o", "responses": "openai:gpt-5-mini", "anthropic": "anthropic:claude-haiku-4-5",
    "gemini": "gemini:gemini-2.5-flash", "mistral": "mistral:mistral-small-latest",
}  # fmt: skip


ANY_KEY = {f"{name}_API_KEY": "k" for name in ("OPENAI", "ANTHROPIC", "GEMINI", "MISTRAL")}


@pytest.fixture
def server():
    with BatchServer() as started:
        yield started


@pytest.fixture(params=sorted(MODELS))
def model(request) -> str:
    return MODELS[request.param]


@pytest.fixture
async def api(server: BatchServer, model: str) -> AsyncIterator[Batches]:
    http = Http()
    environ = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": KEY}
    environ |= {"ANTHROPIC_BASE_URL": server.root_url, "ANTHROPIC_API_KEY": KEY}
    environ |= {"GEMINI_BASE_URL": server.root_url, "GEMINI_API_KEY": KEY}
    environ |= {"MISTRAL_BASE_URL": server.base_url, "MISTRAL_API_KEY": KEY}
    found = batch_api_of(Providers(environ, http=http).get(model))
    assert found is not None
    yield found
    await http.aclose()


def ask(model: str, text: str = "Hello", **more: Any) -> ChatRequest:
    return ChatRequest(model, (Message("system", "Be brief."), Message("user", text)), max_tokens=50, **more)


async def made(api: Batches, tmp_path: Path, *requests: ChatRequest, token: str = TOKEN) -> str:
    lines = [api.line(f"{token}-{n}-1-0i", request) for n, request in enumerate(requests)]
    path = tmp_path / "batch.jsonl"
    path.write_bytes(b"\n".join(lines))
    return await api.create(token, api.group(requests[0]), await api.upload(path, token))


async def results(api: Batches, id: str, path: Path) -> tuple[BatchStatus, list[Any]]:
    status = await api.status(id)
    assert status.state == "ended"
    await api.download(status, path)
    return status, [api.parse_line(line) for line in path.read_bytes().splitlines()]


async def test_what_is_sent_is_what_the_sdks_send(
    api: Batches, model: str, server: BatchServer, tmp_path: Path
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    await made(api, tmp_path, ask(model), ask(model, schema=schema, temperature=0.5))
    (batch,) = server.batches()
    for _, body in batch.requests:
        if model.startswith("anthropic"):
            sdk.messages_request(body)
        elif model.startswith("gemini"):
            sdk.gemini_request(body)
        elif model in (MODELS["chat"], MODELS["mistral"]):
            sdk.chat_request(body)
        else:
            sdk.responses_request(body)
    if model.startswith("openai"):
        from openai.types.batch_create_params import BatchCreateParams

        said = {"input_file_id": batch.input_file, "endpoint": batch.endpoint, "completion_window": "24h"}
        sdk.accepted(BatchCreateParams, {**said, "metadata": dict(batch.metadata)})
    assert TOKEN in batch.metadata.values() or model.startswith("anthropic")
    assert all(key == KEY for _, _, key in server.requests)


async def test_a_batch_from_its_making_to_its_answers(
    api: Batches, model: str, server: BatchServer, tmp_path: Path
) -> None:
    server.looks = 2
    server.shuffle = True
    requests = [ask(model, f"row {n}") for n in range(3)]
    id = await made(api, tmp_path, *requests)
    status = await api.status(id)
    assert (status.state, status.total, status.done) == ("working", 3, 0)
    status, lines = await results(api, id, tmp_path / "out")
    assert (status.done, status.error, status.expired) == (3, "", False)
    for line in lines:
        row = int(line.custom_id.split("-")[1])
        response = api.read_response(requests[row], line)
        assert response.text == f"echo: row {row}"
        assert response.usage.cost is None and response.usage.output_tokens > 0


async def test_it_costs_half(api: Batches, model: str, tmp_path: Path) -> None:
    """Done when 6 of the third issue, for batches."""
    id = await made(api, tmp_path, ask(model))
    _, (line,) = await results(api, id, tmp_path / "out")
    scope = JournaledChat(lambda ref: pytest.fail("nothing is sent"), MemoryJournal()).scope("label")
    call = scope.next_call(ask(model))
    response = await scope.record_batch_answer(
        call, lambda request: api.read_response(request, line), batch="b"
    )
    usage = response.usage
    assert scope.usage == usage
    full = LIST_PRICES.cost_of(usage, model)
    assert full is not None and usage.cost == pytest.approx(full / 2)


async def test_what_rows_come_to(api: Batches, model: str, server: BatchServer, tmp_path: Path) -> None:
    """Each in the right typed error, without the key."""
    replies = [
        Reply(status=400, error=f"bad {KEY}"),
        Reply(status=429),
        Reply(finish="length"),
        Reply(status=529),
    ]
    server.reply = lambda body, custom_id: replies[int(custom_id.split("-")[1])]
    request = ask(model)
    id = await made(api, tmp_path, *[request] * 4)
    _, lines = await results(api, id, tmp_path / "out")
    found: dict[int, Exception] = {}
    for line in lines:
        with pytest.raises(ModelError) as caught:
            api.read_response(request, line)
        found[int(line.custom_id.split("-")[1])] = caught.value
    assert (
        isinstance(found[0], ModelRefused) and "bad ***" in str(found[0]) and KEY not in repr(found[0].details)
    )
    assert found[1].code == "model_rate_limited"
    assert isinstance(found[2], AnswerTruncated) and found[2].details["usage"]["output_tokens"] > 0
    assert isinstance(found[3], ModelUnavailable)


async def test_cancelled_and_expired(api: Batches, model: str, server: BatchServer, tmp_path: Path) -> None:
    server.hold()
    server.finished = 1
    request = ask(model)
    first = await made(api, tmp_path, request, request, token=f"po{1:016x}")
    second = await made(api, tmp_path, request, request, token=f"po{2:016x}")
    await api.cancel(first)
    status, lines = await results(api, first, tmp_path / "out")
    writes_all = model.partition(":")[0] in ("openai", "anthropic")
    assert sorted(line.cancelled for line in lines) == [False, True][: 1 + writes_all]
    assert writes_all or "cancelled" in status.missing
    await api.cancel(first)  # it has ended: nothing to say about that
    server.expire()
    status, lines = await results(api, second, tmp_path / "out")
    assert status.expired
    if not writes_all:  # who is not in the results was not worked on; of Gemini's there are none
        assert "expired" in status.missing and len(lines) == (not model.startswith("gemini"))
        return
    (late,) = (line for line in lines if "-1-1-" in line.custom_id)
    assert not late.cancelled
    with pytest.raises(ModelUnavailable, match="expired"):
        api.read_response(request, late)


async def test_a_batch_is_found_again(api: Batches, model: str, server: BatchServer, tmp_path: Path) -> None:
    """P3: by the token; among many, over pages, and not one of somebody else's."""
    since = time.time()
    request = ask(model)
    assert await api.find(TOKEN, since=since, count=1, others=()) == BatchSearch()
    wanted = await made(api, tmp_path, request)
    for n in range(3):
        await made(api, tmp_path, request, token=f"po{n:016x}")
    module = __import__(type(api).__module__, fromlist=["_PAGE"])
    page, module._PAGE = module._PAGE, 2
    try:
        assert await api.find(TOKEN, since=since, count=1, others=()) == BatchSearch(wanted)
        assert (await api.find("po" + "f" * 16, since=since, count=1, others=())) == BatchSearch()
        assert (await api.find(TOKEN, since=since + 3600, count=1, others=())).id in (None, wanted)
    finally:
        module._PAGE = page


async def test_errors_of_the_api(api: Batches, model: str, server: BatchServer, tmp_path: Path) -> None:
    server.faults = [Fault("GET", "batch", 401)]
    with pytest.raises(ModelKeyError):
        await api.status("batch_1")
    with pytest.raises(ModelRefused) as caught:
        await api.status("../files")
    assert caught.value.details["status"] == 404
    server.faults = [
        Fault("GET", "batch", 0, times=2)
    ]  # a kept connection may turn out to be closed: aiohttp looks again
    with pytest.raises(ModelUnavailable):
        await api.status("batch_1")


@pytest.mark.parametrize("line", [b"", b"nonsense", b"[]", b'{"custom_id": 7, "key": 7}', b"{}", b"\xff\xfe"])
def test_lines_that_are_none(line: bytes) -> None:
    for model in MODELS.values():
        api = batch_api_of(Providers(ANY_KEY, http=Http()).get(model))
        assert api is not None and api.parse_line(line) is None


@pytest.mark.parametrize(
    "said", [{}, {"response": 7}, {"response": {"status_code": "x", "body": None}}, {"result": 1}]
)
def test_results_of_no_shape_are_errors_of_their_row(said: dict[str, Any]) -> None:
    for model in MODELS.values():
        api = batch_api_of(Providers(ANY_KEY, http=Http()).get(model))
        assert api is not None
        line = api.parse_line(json.dumps({"custom_id": "x", "key": "x", **said}).encode())
        assert line is not None
        with pytest.raises(ModelUnavailable):
            api.read_response(ask(model), line)


def test_who_has_batches() -> None:
    assert batch_problem("openai:gpt-4o") is None and batch_problem("anthropic:x") is None
    assert batch_problem("gemini:x") is None and batch_problem("mistral:x") is None
    able = "anthropic, gemini, mistral, openai"
    assert able in (batch_problem("deepseek:x") or "") and batch_problem("nobody:x") is None


# -- the server, judged by the SDKs' own clients -----------------------------------------------------------
def test_openai_client_and_the_server(server: BatchServer) -> None:
    from openai import OpenAI

    with OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
        rows = [
            {"custom_id": f"x-{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}
            for n in range(2)
        ]
        text = "\n".join(map(json.dumps, rows)).encode()
        file = client.files.create(file=("x.jsonl", text), purpose="batch")
        batch = client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
        )
        assert [b.id for b in client.batches.list()] == [batch.id]
        batch = client.batches.retrieve(batch.id)
        sdk.read(type(batch), batch.model_dump(exclude_unset=True))
        assert batch.status == "completed" and batch.output_file_id is not None
        lines = client.files.content(batch.output_file_id).text.splitlines()
        assert len(lines) == 2
        sdk.chat_text({"body": json.loads(lines[0])["response"]["body"]})
        assert client.batches.cancel(batch.id).status == "completed"


def test_anthropic_client_and_the_server(server: BatchServer) -> None:
    from anthropic import Anthropic
    from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

    server.reply = lambda body, custom_id: Reply(status=400) if custom_id == "x-1" else "good"
    with Anthropic(base_url=server.root_url, api_key=KEY, max_retries=0) as client:
        params: Any = {
            "model": "claude-haiku-4-5",
            "max_tokens": 5,
            "messages": [{"role": "user", "content": "hi"}],
        }
        batch = client.messages.batches.create(
            requests=[{"custom_id": f"x-{n}", "params": params} for n in range(2)]
        )
        assert [b.id for b in client.messages.batches.list()] == [batch.id]
        batch = client.messages.batches.retrieve(batch.id)
        sdk.read(MessageBatch, batch.model_dump(exclude_unset=True))
        assert batch.processing_status == "ended" and batch.request_counts.errored == 1
        found = list(client.messages.batches.results(batch.id))
        for one in found:
            sdk.read(MessageBatchIndividualResponse, one.model_dump(exclude_unset=True))
        assert sorted(one.result.type for one in found) == ["errored", "succeeded"]
        assert client.messages.batches.cancel(batch.id).processing_status == "ended"


def test_gemini_client_and_the_server(server: BatchServer) -> None:
    from google.genai import Client
    from google.genai.types import HttpOptions, JobState

    server.reply = lambda body, custom_id: Reply(status=400) if custom_id == "x-1" else "good"
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    text = b"\n".join(json.dumps({"key": f"x-{n}", "request": body}).encode() for n in range(2))
    server._files["files/1"] = (KEY, text)
    with Client(
        api_key=KEY, http_options=HttpOptions(base_url=server.root_url, api_version="v1beta")
    ) as client:
        batch = client.batches.create(model="gemini-2.5-flash", src="files/1", config={"display_name": "a"})
        assert [b.name for b in client.batches.list()] == [batch.name]
        batch = client.batches.get(name=batch.name or "")
        assert (batch.state, batch.display_name) == (JobState.JOB_STATE_SUCCEEDED, "a")
        assert batch.dest is not None and batch.dest.file_name
        client.batches.cancel(name=batch.name or "")
