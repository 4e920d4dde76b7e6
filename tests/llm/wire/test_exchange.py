"""One exchange over HTTP, with a provider of the smallest size."""

import pytest

from po_jupyter.errors import ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.exchange import HttpProvider
from po_jupyter.llm.wire.http import Http, Target
from po_jupyter.llm.wire.json_fields import as_text, mapping_at, mappings_in
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.testing.model_server import ModelServer, Reply

pytestmark = pytest.mark.integration


class ToyReader(ResponseReader):
    def read_body(self, body):
        return as_text(mapping_at(mappings_in(body["choices"])[0], "message").get("content"))

    def read_event(self, event):
        choices = mappings_in(event.get("choices"))
        if not choices:
            return ""
        self.finish = choices[0].get("finish_reason") or self.finish
        return as_text(mapping_at(choices[0], "delta").get("content"))


class Toy(HttpProvider):
    name = "toy"
    key_env = "TOY_KEY"

    def target(self, request, *, stream):
        return Target(f"{self.endpoint.base_url}/chat/completions", key=self.endpoint.key, name=self.name)

    def body(self, request, *, stream):
        turns = [{"role": m.role, "content": m.content} for m in request.messages]
        return {"model": request.model_name, "messages": turns, "stream": stream}

    def reader(self, request):
        return ToyReader(self.name, request, self.endpoint.key, self.key_env)


@pytest.fixture
def server():
    with ModelServer(key="k-1") as running:
        yield running


@pytest.fixture
async def toy(server):
    http = Http()
    yield Toy(ProviderEndpoint(server.base_url, "k-1"), http)
    await http.aclose()


def ask(**more):
    return ChatRequest("toy:m", (Message("user", "a b"),), **more)


def test_the_names_of_the_class_can_be_replaced():
    other = Toy(ProviderEndpoint("http://x"), None, name="other", key_env="OTHER_KEY", timeout=3)
    assert (other.name, other.key_env, other.timeout) == ("other", "OTHER_KEY", 3)
    assert (Toy.name, Toy(ProviderEndpoint("http://x"), None).key_env) == ("toy", "TOY_KEY")


async def test_what_a_subclass_must_say_is_not_forgotten_quietly():
    bare = HttpProvider(ProviderEndpoint("http://x"), None, name="bare", key_env="")
    with pytest.raises(NotImplementedError):
        await bare.chat(ask())
    assert await bare.aclose() is None


async def test_streamed_and_whole_are_the_same(toy, server):
    pieces = []
    whole = await toy.chat(ask())
    streamed = await toy.chat(ask(), on_text=pieces.append)
    assert whole.text == streamed.text == "".join(pieces) == "echo: a b" and len(pieces) > 1
    assert [r.body["stream"] for r in server.requests] == [False, True]


async def test_an_error_knows_which_call_failed(toy, server):
    """P7: the request's own limit of time, and one request."""
    server.enqueue(Reply(latency=30))
    with pytest.raises(ModelUnavailable, match=r"no answer within 0\.1 s") as caught:
        await toy.chat(ask(timeout=0.1))
    assert (caught.value.details["provider"], caught.value.model, caught.value.outcome) == (
        "toy",
        "m",
        "unknown",
    )
    assert len(server.requests) == 1
