"""The base classes of providers under their old names and with their old hooks, for one release.

A provider that was written for `OneServer` and `Reading` works unchanged: the old hooks are called by the new ones.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from po_jupyter.errors import ModelError
from po_jupyter.llm.chat import ChatRequest
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.exchange import HttpProvider
from po_jupyter.llm.wire.http import Http
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.model.values.json import JsonObject


class Reading(ResponseReader):
    """`ResponseReader` with the hooks `whole`, `event` and `last`."""

    def whole(self, body: JsonObject) -> str:
        """The old name of `read_body`."""
        raise NotImplementedError

    def event(self, event: JsonObject) -> str:
        """The old name of `read_event`."""
        raise NotImplementedError

    def last(self) -> None:
        """The old name of `before_response`."""

    def read_body(self, body: JsonObject) -> str:
        """Call the old hook."""
        return self.whole(body)

    def read_event(self, event: JsonObject) -> str:
        """Call the old hook."""
        return self.event(event)

    def before_response(self) -> None:
        """Call the old hook."""
        self.last()

    def call(
        self,
        place: Hashable,
        *,
        id: str = "",
        name: str = "",
        arguments: str | Mapping[str, object] = "",
    ) -> None:
        """The old name of `add_tool_call`."""
        self.add_tool_call(place, id=id, name=name, arguments=arguments)

    def shapeless(self, what: str = "the answer has no message") -> ModelError:
        """The old name of `malformed`."""
        return self.malformed(what)

    def inside(self, error: object, status: int | None = None) -> ModelError:
        """The old name of `error_inside`."""
        return self.error_inside(error, status)

    def details(self) -> JsonObject:
        """The old name of `error_details`."""
        return self.error_details()


class OneServer(HttpProvider):
    """`HttpProvider` with the hook `reading` and the attributes `_endpoint`, `_http`, `_key_env`, `_timeout`."""

    def reading(self, request: ChatRequest) -> ResponseReader:
        """The old name of `reader`."""
        raise NotImplementedError

    def reader(self, request: ChatRequest) -> ResponseReader:
        """Call the old hook."""
        return self.reading(request)

    @property
    def _endpoint(self) -> ProviderEndpoint:
        return self.endpoint

    @property
    def _http(self) -> Http:
        return self.http

    @property
    def _key_env(self) -> str:
        return self.key_env

    @property
    def _timeout(self) -> float:
        return self.timeout
