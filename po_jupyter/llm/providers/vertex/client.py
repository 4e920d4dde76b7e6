"""The provider for Gemini on Vertex AI: where a request goes, and its token.

Reference: cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference and .../text-embeddings-api, and the
addresses that google-genai 3.6 makes, read 2026-11. Answers and requests are those of `providers.gemini`.

With a login of Google Cloud (`login`) a model is asked in a project and a location; with a key of Vertex's express mode
(`VERTEX_API_KEY`) without either. A model is the name of one of Google's, or the path of a tuned one (`projects/...`).
Embedding models before Gemini's second have a method of their own, `predict`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from po_jupyter.errors import ModelError, ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText, Provider
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.providers.gemini.client import Gemini
from po_jupyter.llm.providers.gemini.generate_content import method_of
from po_jupyter.llm.providers.short_lived import ShortLivedCredentials
from po_jupyter.llm.providers.vertex.login import PROJECT, QUOTA_PROJECT, TOKEN
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.exchange import exchange
from po_jupyter.llm.wire.http import Http
from po_jupyter.llm.wire.json_fields import mapping_at, mappings_in
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.llm.wire.usage import token_count, usage_from
from po_jupyter.llm.wire.vector_reader import VectorReader
from po_jupyter.model.values.json import JsonObject

_MODEL = re.compile(
    r"(?:publishers/[a-z0-9-]{1,63}/models/|projects/[a-z0-9][a-z0-9:._-]{0,62}/locations/[a-z0-9-]{1,63}/(?:endpoints|models)/)?"
    r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}"
)
_PROJECT = re.compile(r"[a-z0-9](?:[a-z0-9:._-]{0,62})")
_LOCATION_OF_HOST = re.compile(r"//(?:([a-z0-9-]+)-aiplatform\.|aiplatform\.([a-z]+)\.rep\.)")
_EMBED_CONTENT = re.compile(r"gemini-(?!embedding-(?:001|exp))")


def make(context: ProviderContext) -> Provider:
    """The provider of a context. Raises ModelRefused when no location is set."""
    spec, environ = context.spec, context.environ
    if not context.base_url:
        raise ModelRefused(
            f"{spec.name} has an address for each location, and {spec.region_env[0]} is not set",
            hint=f"Set {spec.region_env[0]} where the orchestrator starts, for example to global or europe-west1.",
            details={"provider": spec.name, "variable": spec.region_env[0]},
        )
    location = spec.region_in(environ)
    if match := _LOCATION_OF_HOST.search(context.base_url):
        location = match[1] or match[2]
    key = context.key if spec.key_in(environ) else None
    endpoint = ProviderEndpoint(context.base_url, key)
    return Vertex(endpoint, context.http, None if key else context.short_lived(), location or "global")


class Vertex(Gemini):
    """A provider for the models of one location."""

    name = "vertex"
    key_env = "VERTEX_API_KEY"

    def __init__(
        self,
        endpoint: ProviderEndpoint,
        http: Http,
        login: ShortLivedCredentials | None = None,
        location: str = "global",
    ) -> None:
        """`login` is there where the endpoint has no key."""
        super().__init__(endpoint, http)
        self._login = login
        self._location = location
        self._project = ""

    def url_of(self, model: str, method: str) -> str:
        """The URL of a model's method. Raises ModelRefused for a name that cannot be a part of a URL."""
        if not _MODEL.fullmatch(model):
            raise ModelRefused(f"{model!r:.80} is not the name of a model, or the path of one, of Vertex AI")
        path = model if "/" in model else f"publishers/google/models/{model}"
        if self._project and not path.startswith("projects/"):
            path = f"projects/{quote(self._project, safe=':')}/locations/{self._location}/{path}"
        return f"{self.endpoint.base_url.rstrip('/')}/v1beta1/{path}:{method}"

    def method(self, request: ChatRequest, *, stream: bool) -> str:
        """The method of a model that a request goes to."""
        return "predict" if _by_predict(request) else method_of(request, stream=stream)

    def body(self, request: ChatRequest, *, stream: bool) -> JsonObject:
        """The body of a request."""
        if _by_predict(request):
            # Or a long text is cut in silence, and its vector is that of its beginning.
            return {
                "instances": [{"content": request.messages[-1].content}],
                "parameters": {"autoTruncate": False},
            }
        return super().body(request, stream=stream)

    def reader(self, request: ChatRequest) -> ResponseReader:
        """A reader of the answer."""
        if _by_predict(request):
            return PredictReader(self.name, request, self.endpoint.key, self.key_env)
        return super().reader(request)

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """Make one request. See `llm.chat.Provider`."""
        if self._login is None:
            return await super().chat(request, on_text=on_text)
        credentials = await self._login.current()
        self._use_project(credentials[PROJECT])
        stream = on_text is not None
        target = self.target(request, stream=stream).with_headers(_headers(credentials))
        body, reader = self.body(request, stream=stream), self.reader(request)
        reader.key = credentials[TOKEN]  # so that it is in no message
        try:
            seconds = request.timeout or self.timeout
            return await exchange(self.http, target, body, reader, seconds=seconds, on_text=on_text)
        except ModelError as error:
            self._explain(error)
            if error.http_status != 401:
                raise
            self._login.reject(credentials)
            raise ModelUnavailable(
                error.message,
                hint="The token was at its end; a new one is obtained for the next try.",
                details=error.details,
                at_once=True,
            ) from None

    def _use_project(self, project: str) -> None:
        if project == self._project:
            return
        if not _PROJECT.fullmatch(project):  # it becomes a part of the URL
            raise ModelRefused(
                f"{project!r:.80} is not the id of a project of Google Cloud",
                hint="Set GOOGLE_CLOUD_PROJECT right where the orchestrator starts.",
            )
        self._project = project
        self._targets.clear()

    def _explain(self, error: ModelError) -> None:
        """Say in the hint of an error what to do, where its own words do not."""
        if error.http_status == 403:
            error.hint = (
                f"The login needs the role Vertex AI User in the project {self._project}, and the project the API "
                "aiplatform.googleapis.com."
            )
        elif error.http_status == 404:
            error.hint = (
                f"Check the model's name, and that it is offered in {self._location} (GOOGLE_CLOUD_LOCATION)."
            )


def _headers(credentials: Mapping[str, str]) -> dict[str, str]:
    headers = {"authorization": f"Bearer {credentials[TOKEN]}"}
    if quota := credentials.get(QUOTA_PROJECT):
        headers["x-goog-user-project"] = quota
    return headers


def _by_predict(request: ChatRequest) -> bool:
    return request.embed and _EMBED_CONTENT.match(request.model_name.rpartition("/")[2]) is None


class PredictReader(VectorReader):
    """The reader of the prediction of one vector."""

    def numbers_in(self, body: JsonObject) -> object:
        """See `VectorReader`."""
        return _embeddings(body).get("values")

    def read_usage(self, body: JsonObject) -> None:
        """The usage of a prediction: the tokens of its text."""
        if count := token_count(mapping_at(_embeddings(body), "statistics").get("token_count")):
            self.usage = usage_from(count, 0)


def _embeddings(body: JsonObject) -> Mapping[str, object]:
    predictions = mappings_in(body.get("predictions"))
    return mapping_at(predictions[0], "embeddings") if predictions else {}
