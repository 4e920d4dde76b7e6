"""The provider for Anthropic, or another server with its Messages API."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from po_jupyter.llm.chat import ChatRequest, Provider
from po_jupyter.llm.providers.anthropic.messages import VERSION, MessagesReader, request_body
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.wire.exchange import HttpProvider
from po_jupyter.llm.wire.http import Target
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.model.values.json import JsonObject

if TYPE_CHECKING:
    from po_jupyter.llm.providers.anthropic.batches import AnthropicBatches


def make(context: ProviderContext) -> Provider:
    """The provider of a context. Raises ModelKeyError."""
    return Anthropic(context.endpoint, context.http, name=context.spec.name, key_env=context.spec.key_env)


class Anthropic(HttpProvider):
    """A provider for `/v1/messages` of one server, with its batch API under `batches`."""

    name = "anthropic"
    key_env = "ANTHROPIC_API_KEY"

    @cached_property
    def _target(self) -> Target:
        base = self.endpoint.base_url.rstrip("/").removesuffix("/v1")
        return Target(
            f"{base}/v1/messages",
            key=self.endpoint.key,
            name=self.name,
            headers={"anthropic-version": VERSION},
            key_header="x-api-key",
        )

    @cached_property
    def batches(self) -> AnthropicBatches:
        """The batch API. See `llm.batches.protocol.Batches`."""
        from po_jupyter.llm.providers.anthropic.batches import AnthropicBatches

        return AnthropicBatches(
            self.endpoint, self.http, name=self.name, key_env=self.key_env, timeout=self.timeout
        )

    def target(self, request: ChatRequest, *, stream: bool) -> Target:
        """`/v1/messages` for every request."""
        return self._target

    def body(self, request: ChatRequest, *, stream: bool) -> JsonObject:
        """The body of a Messages request. Raises ModelRefused."""
        return request_body(request, stream=stream, provider=self.name)

    def reader(self, request: ChatRequest) -> ResponseReader:
        """A reader of Messages responses."""
        return MessagesReader(self.name, request, self.endpoint.key, self.key_env)
