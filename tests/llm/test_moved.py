"""The import paths of plugins that were written before `po_jupyter.providers`: they work, and say where to go."""

import importlib
import json

import httpx
import pytest

from po_jupyter import providers
from po_jupyter.errors import ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.wire.bodies import HttpResponse

MOVED = [
    ("po_jupyter.llm.http", "Target", "Target"),
    ("po_jupyter.llm.http", "Http", "Http"),
    ("po_jupyter.llm.providers", "Spec", "Spec"),
    ("po_jupyter.llm.providers", "Context", "Context"),
    ("po_jupyter.llm.providers.reading", "Reading", "ResponseReader"),
    ("po_jupyter.llm.providers.reading", "used", "usage_from"),
    ("po_jupyter.llm.providers.reading", "count", "as_count"),
    ("po_jupyter.llm.providers.reading", "part", "mapping_at"),
    ("po_jupyter.llm.providers.reading", "rows", "mappings_in"),
    ("po_jupyter.llm.providers.reading", "word", "as_text"),
    ("po_jupyter.llm.providers.schemas", "instructed", "with_instructions"),
    ("po_jupyter.llm.providers.schemas", "told", "schema_as_text"),
    ("po_jupyter.llm.providers.schemas", "JSON_ONLY", "JSON_ONLY"),
    ("po_jupyter.llm.providers.wire", "OneServer", "HttpProvider"),
    ("po_jupyter.llm.providers.wire", "Endpoint", "Endpoint"),
]


@pytest.mark.parametrize(("module", "old", "new"), MOVED)
def test_an_old_path_still_imports_and_names_the_new_one(module, old, new):
    with pytest.warns(DeprecationWarning, match=rf"import po_jupyter\.providers\.{new} instead"):
        value = getattr(importlib.import_module(module), old)
    now = getattr(providers, new)
    assert value is now or issubclass(value, now)


def test_helpers_of_the_conformance_suite_have_their_old_names_too():
    from po_jupyter.testing.conformance import provider as suite

    for old, new in {"found": "values_under", "words": "as_json_text"}.items():
        with pytest.warns(
            DeprecationWarning, match=rf"import po_jupyter\.testing\.conformance\.provider\.{new} instead"
        ):
            assert getattr(suite, old) is getattr(suite, new)


@pytest.mark.parametrize("module", sorted({module for module, _, _ in MOVED}))
def test_a_name_that_never_was_is_no_attribute(module):
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = importlib.import_module(module).no_such_name


# As README showed it before the names changed.
OLD_PROVIDER = """
from po_jupyter.errors import ModelRefused
from po_jupyter.llm.http import Target
from po_jupyter.llm.providers import Spec
from po_jupyter.llm.providers.reading import Reading, used
from po_jupyter.llm.providers.schemas import instructed, told
from po_jupyter.llm.providers.wire import OneServer


class Answer(Reading):
    def whole(self, said):
        if "text" not in said:
            raise self.shapeless()
        self.usage, self.finish = used(said["read"], said["wrote"]), "stop"
        return said["text"]

    def event(self, said):
        self.call(0, id="c", name="tool", arguments=said["piece"])
        return "x"

    def last(self):
        self.finish = self.finish or "stop"


class Toy(OneServer):
    def target(self, request, *, stream):
        return Target(f"{self._endpoint.base_url}/ask", key=self._endpoint.key, name=self.name)

    def body(self, request, *, stream):
        schema = request.schema
        turns = instructed(request.messages, told(schema)) if schema else request.messages
        return {"model": request.model_name, "text": "\\n\\n".join(turn.content for turn in turns)}

    def reading(self, request):
        return Answer(self.name, request, self._endpoint.key, self._key_env)


def make(context):
    return Toy(context.endpoint, context.http, name="toy", key_env="TOY_API_KEY")


provider = Spec("toy", make, "TOY_API_KEY", "TOY_BASE_URL", "https://toy.example/v1", example="toy:small")
"""


@pytest.mark.filterwarnings("ignore:.*has moved:DeprecationWarning")
def test_a_provider_of_the_old_names_works_unchanged():
    module = {}
    exec(OLD_PROVIDER, module)
    environ = {"TOY_API_KEY": "k-1"}
    toy = module["provider"].factory(providers.Context(module["provider"], environ, None))
    request = ChatRequest("toy:small", (Message("user", "hi"),), schema={"type": "object"})
    assert str(toy.target(request, stream=False).url) == "https://toy.example/v1/ask"
    assert "JSON Schema" in toy.body(request, stream=False)["text"]

    def answer(**body):
        return HttpResponse(200, httpx.Headers(), json.dumps(body).encode())

    response = toy.reader(request).read_response(answer(text="hello", read=3, wrote=2))
    assert (response.text, response.usage.input_tokens, response.usage.output_tokens) == ("hello", 3, 2)
    with pytest.raises(ModelUnavailable, match="toy: the answer has no message"):
        toy.reader(request).read_response(answer(other=1))
    streamed = toy.reader(request)
    assert streamed.feed(b'{"piece": "{\\"a\\":"}') == "x" and streamed.feed(b'{"piece": " 1}"}') == "x"
    streamed.feed(b"[DONE]")
    assert dict(streamed.finish_stream().tool_calls[0].arguments) == {"a": 1}
