"""Transfer of JSON lines: bodies that are files, downloads that are written as they come."""

import httpx
import pytest

from po_jupyter.errors import AnswerTruncated, ModelRefused, ModelUnavailable
from po_jupyter.llm.batches import transfer
from po_jupyter.llm.batches.protocol import batch_api_of
from po_jupyter.llm.batches.transfer import BatchTransport, FileBody, header_text, read_batched
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.compatible.chat_completions import ChatReader
from po_jupyter.llm.providers.compatible.family import OPENAI
from po_jupyter.llm.providers.fake import FakeProvider
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.bodies import HttpResponse

KEY = "sk-wire-0123456789abcdef"


class Responses:
    """An `Http` that answers from a table: path -> (status, body)."""

    def __init__(self, table):
        self.table, self.sent = table, []

    def _response(self, target):
        return self.table[target.url.path]

    async def fetch(self, target, *, method, body, seconds):
        pieces = [piece async for piece in body] if isinstance(body, FileBody) else [body]
        self.sent.append((method, target, b"".join(pieces), seconds))
        status, content = self._response(target)
        return HttpResponse(status, httpx.Headers(), content)

    def download(self, target, *, seconds):
        outer = self

        class Opened:
            async def __aenter__(self):
                status, content = outer._response(target)

                async def stream():
                    for n in range(0, len(content), 3):
                        yield content[n : n + 3]

                return httpx.Response(status, content=stream())

            async def __aexit__(self, *error):
                return None

        return Opened()


def transport_of(**table):
    http = Responses({f"/v1/{name}": value for name, value in table.items()})
    return http, BatchTransport(
        ProviderEndpoint("http://x/v1/", KEY),
        http,
        name="toy",
        key_env="TOY_KEY",
        timeout=10,
        headers={"v": "1"},
    )


async def test_a_file_goes_out_between_head_and_tail_with_its_size(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b'{"a":1}\n{"b":2}')
    http, transport = transport_of(files=(200, b"ok"))
    body = FileBody(path, b"[", b"]", joint=b",")
    assert await transport.request("POST", "/files", body) == b"ok"
    assert await transport.request("POST", "/files", body) == b"ok", "a second try sends it again"
    for method, target, sent, seconds in http.sent:
        assert (method, sent) == ("POST", b'[{"a":1},{"b":2}]') and 10 < seconds < 11
        assert target.headers["content-length"] == str(len(sent)) and target.headers["v"] == "1"


async def test_an_error_is_typed_and_without_the_key():
    """P10."""
    _, transport = transport_of(batches=(404, f'{{"error": {{"message": "no {KEY}"}}}}'.encode()))
    for call in (transport.request("GET", "/batches"), transport.first_line("/batches")):
        with pytest.raises(ModelRefused) as caught:
            await call
        assert caught.value.http_status == 404 and KEY not in str(caught.value)
    assert isinstance(transport.malformed("no id"), ModelUnavailable)
    assert transport.one_line(f"a\n {KEY} b") == "a *** b"


@pytest.mark.parametrize("write_at", [1, 1 << 20])
async def test_the_lines_of_several_paths_are_one_file(tmp_path, monkeypatch, write_at):
    monkeypatch.setattr(transfer, "_WRITE_AT", write_at)
    _, transport = transport_of(one=(200, b'{"a":1}\n{"b":2}'), two=(200, b'\n{"c":3}\n'))
    await transport.download_lines(["/one", "/two"], tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b'{"a":1}\n{"b":2}\n\n{"c":3}\n'
    assert await transport.first_line("/two") == b'{"c":3}'


async def test_a_path_without_lines_has_no_first_one(tmp_path):
    _, transport = transport_of(none=(200, b"\n\n"))
    assert await transport.first_line("/none") == b""


def test_a_header_is_ascii():
    assert header_text("r-1 ä") == "r-1 " and header_text(None) == ""


def test_an_answer_of_a_batch_took_no_time_and_its_errors_know_their_call():
    request = ChatRequest("toy:m", (Message("user", "hi"),))

    def read(finish):
        body = f'{{"choices": [{{"message": {{"content": "x"}}, "finish_reason": "{finish}"}}]}}'
        return read_batched(
            ChatReader("toy", request, KEY, "TOY_KEY", OPENAI),
            HttpResponse(200, httpx.Headers(), body.encode()),
        )

    assert (read("stop").text, read("stop").seconds) == ("x", 0.0)
    with pytest.raises(AnswerTruncated) as caught:
        read("length")
    assert caught.value.details["provider"] == "toy" and caught.value.usage


def test_a_provider_without_a_batch_api_has_none():
    assert batch_api_of(FakeProvider()) is None
