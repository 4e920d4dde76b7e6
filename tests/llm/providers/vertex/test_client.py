"""Vertex AI over HTTP: projects, locations, tokens that end, vectors, and errors that say what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from po_jupyter.errors import ModelError, ModelKeyError, ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.llm.provider_spec import regional_url
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.providers.fake import word_vector
from po_jupyter.llm.providers.short_lived import EXPIRES
from po_jupyter.llm.providers.vertex.login import PROJECT, QUOTA_PROJECT, TOKEN
from po_jupyter.llm.specs import load_factory, specs
from po_jupyter.llm.vectors import pack
from po_jupyter.llm.wire.http import Http
from po_jupyter.testing.model_server import ModelServer, Reply

pytestmark = pytest.mark.integration
MODEL = "vertex:gemini-2.5-flash"
PLACE = "/v1beta1/projects/my-project/locations/europe-west1"


class Asked:
    """A provider over a server of this test, whose login gives `token-1`, `token-2` and so on."""

    def __init__(self, server: ModelServer, **environ: str) -> None:
        self.http = Http()
        self.tokens = 0
        self.login = {PROJECT: "my-project"}
        variables = {"VERTEX_BASE_URL": server.root_url, "GOOGLE_CLOUD_LOCATION": "europe-west1", **environ}
        spec = specs()["vertex"]
        self.provider: Any = load_factory(spec)(ProviderContext(spec, variables, self.http, renew=self._renew))

    async def _renew(self) -> dict[str, str]:
        self.tokens += 1
        return {**self.login, TOKEN: f"token-{self.tokens}"}

    async def chat(
        self, model: str = MODEL, text: str = "hi", *, stream: bool = False, embed: bool = False
    ) -> ChatResponse:
        request = ChatRequest(model, (Message("user", text),), embed=embed)
        response: ChatResponse = await self.provider.chat(
            request, on_text=(lambda text: None) if stream else None
        )
        return response

    async def __aenter__(self) -> Asked:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.http.aclose()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_is_asked_in_the_project_of_the_login(stream: bool) -> None:
    with ModelServer() as server:
        async with Asked(server) as asked:
            asked.login[QUOTA_PROJECT] = "pays"
            assert (await asked.chat(stream=stream)).text == "echo: hi"
            assert (await asked.chat(stream=stream)).text == "echo: hi"
        first, second = server.requests
    method = "streamGenerateContent" if stream else "generateContent"
    assert first.path == f"{PLACE}/publishers/google/models/gemini-2.5-flash:{method}"
    assert first.headers["authorization"] == second.headers["authorization"] == "Bearer token-1"
    assert first.headers["x-goog-user-project"] == "pays"
    assert "x-goog-api-key" not in first.headers


async def test_a_key_of_the_express_mode_needs_no_project() -> None:
    with ModelServer(key="express-key") as server:
        async with Asked(server, VERTEX_API_KEY="express-key") as asked:
            await asked.chat()
        (request,) = server.requests
    assert request.path == "/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent"
    assert request.headers["x-goog-api-key"] == "express-key" and "authorization" not in request.headers


async def test_a_token_that_ended_is_obtained_anew_for_the_next_try() -> None:
    with ModelServer() as server:
        async with Asked(server) as asked:
            body = {"error": {"code": 401, "status": "UNAUTHENTICATED", "message": "token-1 has expired"}}
            server.enqueue(Reply(status=401, body=json.dumps(body).encode()))
            with pytest.raises(ModelUnavailable) as caught:
                await asked.chat()
            assert caught.value.at_once and "token-1" not in caught.value.message
            await asked.chat()
            assert server.requests[-1].headers["authorization"] == "Bearer token-2"


async def test_a_token_is_renewed_before_it_ends() -> None:
    with ModelServer() as server:
        async with Asked(server) as asked:
            asked.login[EXPIRES] = "1"
            await asked.chat()
            await asked.chat()
            assert asked.tokens == 2


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("publishers/google/models/gemini-2.5-pro", f"{PLACE}/publishers/google/models/gemini-2.5-pro"),
        (
            "projects/p/locations/us-central1/endpoints/12",
            "/v1beta1/projects/p/locations/us-central1/endpoints/12",
        ),
    ],
)
async def test_a_model_may_be_a_path(model: str, path: str) -> None:
    with ModelServer() as server:
        async with Asked(server) as asked:
            await asked.chat(f"vertex:{model}")
        assert server.requests[0].path == f"{path}:generateContent"


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a b",
        "m?x=1",
        "-x",
        "ü",
        "projects/a/../b",
        "projects/../locations/l/models/m",
        "projects/./locations/l/models/m",
        "x" * 300,
    ],
)
async def test_a_name_that_is_none_is_refused(name: str) -> None:
    """P6."""
    with ModelServer() as server:
        async with Asked(server) as asked:
            with pytest.raises(ModelRefused, match="not the name of a model"):
                await asked.chat(f"vertex:{name}")
            asked.login[PROJECT] = "../other"
            asked.provider._login.reject(await asked.provider._login.current())
            with pytest.raises(ModelRefused, match="not the id of a project"):
                await asked.chat()
        assert server.requests == []


@pytest.mark.parametrize(
    ("model", "method"), [("text-embedding-005", "predict"), ("gemini-embedding-001", "predict"),
                          ("gemini-embedding-2", "embedContent")],
)  # fmt: skip
async def test_a_text_becomes_a_vector(model: str, method: str) -> None:
    with ModelServer() as server:
        async with Asked(server) as asked:
            response = await asked.chat(f"vertex:{model}", "one two three", embed=True)
        assert server.requests[0].path == f"{PLACE}/publishers/google/models/{model}:{method}"
        if method == "predict":
            assert server.requests[0].body["parameters"] == {"autoTruncate": False}, "a long text is an error"
    assert response.text == pack(word_vector("one two three"))
    assert (response.usage.input_tokens, response.usage.output_tokens, response.estimated) == (3, 0, False)


@pytest.mark.parametrize(
    ("status", "kind", "hint"),
    [
        (403, ModelKeyError, "Vertex AI User in the project my-project"),
        (404, ModelRefused, "offered in europe-west1"),
    ],
)
async def test_errors_say_what_to_do(status: int, kind: type[ModelError], hint: str) -> None:
    with ModelServer() as server:
        async with Asked(server) as asked:
            server.enqueue(Reply(status=status))
            with pytest.raises(kind) as caught:
                await asked.chat()
    assert hint in caught.value.hint


def test_each_location_has_its_address() -> None:
    pattern = specs()["vertex"].base_url
    assert regional_url(pattern, "europe-west1") == "https://europe-west1-aiplatform.googleapis.com"
    assert regional_url(pattern, "global") == "https://aiplatform.googleapis.com"
    assert regional_url(pattern, "eu") == "https://aiplatform.eu.rep.googleapis.com"
    assert specs()["vertex"].is_home(regional_url(pattern, "us"))


async def test_without_a_location_it_says_which_variable() -> None:
    http, spec = Http(), specs()["vertex"]
    with pytest.raises(ModelRefused, match="GOOGLE_CLOUD_LOCATION is not set"):
        load_factory(spec)(ProviderContext(spec, {}, http))
    await http.aclose()
