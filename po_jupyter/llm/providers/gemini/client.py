"""The provider for Google's Gemini API."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from po_jupyter.llm.chat import ChatRequest, Provider
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.providers.gemini.generate_content import (
    EmbedContentReader,
    GeminiReader,
    embed_body,
    method_of,
    model_path,
    request_body,
)
from po_jupyter.llm.wire.exchange import HttpProvider
from po_jupyter.llm.wire.http import Target
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.model.values.json import JsonObject

if TYPE_CHECKING:
    from po_jupyter.llm.providers.gemini.batches import GeminiBatches


def make(context: ProviderContext) -> Provider:
    """The provider of a context. Raises ModelKeyError."""
    return GeminiWithBatches(
        context.endpoint, context.http, name=context.spec.name, key_env=context.spec.key_env
    )


class Gemini(HttpProvider):
    """A provider for the Gemini API, without batches."""

    name = "gemini"
    key_env = "GEMINI_API_KEY"
    embeds = True

    @cached_property
    def _targets(self) -> dict[tuple[str, str], Target]:
        return {}

    def target(self, request: ChatRequest, *, stream: bool) -> Target:
        """The URL of a model. Raises ModelRefused for a name that cannot be a part of a URL."""
        model, method = request.model_name, self.method(request, stream=stream)
        target = self._targets.get((model, method))
        if target is None:
            target = Target(
                self.url_of(model, method),
                key=self.endpoint.key,
                name=self.name,
                key_header="x-goog-api-key",
            )
            self._targets[(model, method)] = target
        return target

    def url_of(self, model: str, method: str) -> str:
        """The URL of a model's method. Raises ModelRefused for a name that cannot be a part of a URL."""
        base = self.endpoint.base_url.rstrip("/").removesuffix("/v1beta")
        return f"{base}/v1beta/{model_path(model)}:{method}"

    def method(self, request: ChatRequest, *, stream: bool) -> str:
        """The method of a model that a request goes to."""
        return method_of(request, stream=stream)

    def body(self, request: ChatRequest, *, stream: bool) -> JsonObject:
        """The body of a generateContent request, or of an embedContent one."""
        return embed_body(request) if request.embed else request_body(request, provider=self.name)

    def reader(self, request: ChatRequest) -> ResponseReader:
        """A reader of Gemini's responses."""
        reader = EmbedContentReader if request.embed else GeminiReader
        return reader(self.name, request, self.endpoint.key, self.key_env)


class GeminiWithBatches(Gemini):
    """A provider for the Gemini API, with its batch API under `batches`."""

    @cached_property
    def batches(self) -> GeminiBatches:
        """The batch API. See `llm.batches.protocol.Batches`."""
        from po_jupyter.llm.providers.gemini.batches import GeminiBatches

        return GeminiBatches(
            self.endpoint, self.http, name=self.name, key_env=self.key_env, timeout=self.timeout
        )
