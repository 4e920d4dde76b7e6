"""The provider for Google's Gemini API."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from po_jupyter.llm.chat import ChatRequest, Provider
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.providers.gemini.generate_content import GeminiReader, model_path, request_body
from po_jupyter.llm.wire.exchange import HttpProvider
from po_jupyter.llm.wire.http import Target
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.model.values.json import JsonObject

if TYPE_CHECKING:
    from po_jupyter.llm.providers.gemini.batches import GeminiBatches


def make(context: ProviderContext) -> Provider:
    """The provider of a context; behind the gateway of a hub, which takes no batches of it, it has none. Raises
    ModelKeyError."""
    kind = Gemini if context.behind_gateway else GeminiWithBatches
    return kind(context.endpoint, context.http, name=context.spec.name, key_env=context.spec.key_env)


class Gemini(HttpProvider):
    """A provider for the Gemini API, without batches."""

    name = "gemini"
    key_env = "GEMINI_API_KEY"

    @cached_property
    def _targets(self) -> dict[tuple[str, bool], Target]:
        return {}

    def target(self, request: ChatRequest, *, stream: bool) -> Target:
        """The URL of a model. Raises ModelRefused for a name that cannot be a part of a URL."""
        model = request.model_name
        target = self._targets.get((model, stream))
        if target is None:
            path = model_path(model)
            method = "streamGenerateContent?alt=sse" if stream else "generateContent"
            base = self.endpoint.base_url.rstrip("/").removesuffix("/v1beta")
            target = Target(
                f"{base}/v1beta/{path}:{method}",
                key=self.endpoint.key,
                name=self.name,
                key_header="x-goog-api-key",
            )
            self._targets[(model, stream)] = target
        return target

    def body(self, request: ChatRequest, *, stream: bool) -> JsonObject:
        """The body of a generateContent request."""
        return request_body(request, provider=self.name)

    def reader(self, request: ChatRequest) -> ResponseReader:
        """A reader of Gemini's responses."""
        return GeminiReader(self.name, request, self.endpoint.key, self.key_env)


class GeminiWithBatches(Gemini):
    """A provider for the Gemini API, with its batch API under `batches`."""

    @cached_property
    def batches(self) -> GeminiBatches:
        """The batch API. See `llm.batches.protocol.Batches`."""
        from po_jupyter.llm.providers.gemini.batches import GeminiBatches

        return GeminiBatches(
            self.endpoint, self.http, name=self.name, key_env=self.key_env, timeout=self.timeout
        )
