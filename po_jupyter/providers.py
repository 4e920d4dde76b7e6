"""Everything that a provider is written with: the one module that its author imports.

    from po_jupyter.providers import HttpProvider, ResponseReader, Spec, Target, usage_from

A provider over HTTP subclasses `HttpProvider` and `ResponseReader`; any other has `chat(request, on_text=...)` as its
only method and satisfies `Provider`. A `Spec` in the entry-point group `po_jupyter.providers` makes it known.
Errors are in `po_jupyter.errors`; `po_jupyter.testing.conformance.provider` is the suite to put a provider through.

Names are imported when they are used: this module is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message, OnText, Provider
    from po_jupyter.llm.messages import Image, Tool, ToolCall
    from po_jupyter.llm.providers.context import ProviderContext as Context
    from po_jupyter.llm.specs import ProviderEndpoint as Endpoint
    from po_jupyter.llm.specs import Spec
    from po_jupyter.llm.structured.dialects import JSON_ONLY, schema_as_text, with_instructions
    from po_jupyter.llm.wire.exchange import HttpProvider
    from po_jupyter.llm.wire.http import Http, Target
    from po_jupyter.llm.wire.json_fields import as_cost, as_count, as_text, mapping_at, mappings_in
    from po_jupyter.llm.wire.response_reader import ResponseReader
    from po_jupyter.llm.wire.stop_sequences import StopCutter
    from po_jupyter.llm.wire.usage import usage_from
    from po_jupyter.llm.wire.vector_reader import VectorReader
    from po_jupyter.model.run.usage import Usage

__all__ = [
    "JSON_ONLY",
    "ChatRequest",
    "ChatResponse",
    "Context",
    "Endpoint",
    "Http",
    "HttpProvider",
    "Image",
    "Message",
    "OnText",
    "Provider",
    "ResponseReader",
    "Spec",
    "StopCutter",
    "Target",
    "Tool",
    "ToolCall",
    "Usage",
    "VectorReader",
    "as_cost",
    "as_count",
    "as_text",
    "mapping_at",
    "mappings_in",
    "schema_as_text",
    "usage_from",
    "with_instructions",
]

# Public name -> (module below po_jupyter, name in it).
_HOMES = {
    "JSON_ONLY": ("llm.structured.dialects", "JSON_ONLY"),
    "ChatRequest": ("llm.chat", "ChatRequest"),
    "ChatResponse": ("llm.chat", "ChatResponse"),
    "Context": ("llm.providers.context", "ProviderContext"),
    "Endpoint": ("llm.specs", "ProviderEndpoint"),
    "Http": ("llm.wire.http", "Http"),
    "HttpProvider": ("llm.wire.exchange", "HttpProvider"),
    "Image": ("llm.messages", "Image"),
    "Message": ("llm.chat", "Message"),
    "OnText": ("llm.chat", "OnText"),
    "Provider": ("llm.chat", "Provider"),
    "ResponseReader": ("llm.wire.response_reader", "ResponseReader"),
    "Spec": ("llm.specs", "Spec"),
    "StopCutter": ("llm.wire.stop_sequences", "StopCutter"),
    "Target": ("llm.wire.http", "Target"),
    "Tool": ("llm.messages", "Tool"),
    "ToolCall": ("llm.messages", "ToolCall"),
    "Usage": ("model.run.usage", "Usage"),
    "VectorReader": ("llm.wire.vector_reader", "VectorReader"),
    "as_cost": ("llm.wire.json_fields", "as_cost"),
    "as_count": ("llm.wire.json_fields", "as_count"),
    "as_text": ("llm.wire.json_fields", "as_text"),
    "mapping_at": ("llm.wire.json_fields", "mapping_at"),
    "mappings_in": ("llm.wire.json_fields", "mappings_in"),
    "schema_as_text": ("llm.structured.dialects", "schema_as_text"),
    "usage_from": ("llm.wire.usage", "usage_from"),
    "with_instructions": ("llm.structured.dialects", "with_instructions"),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, inner = _HOMES[name]
    value: object = getattr(import_module(f"po_jupyter.{module}"), inner)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})
