"""Embeddings as OpenAI and the servers that speak its APIs have them: `POST /embeddings`, one text in a request.

Reference: developers.openai.com/api/reference ("Create embeddings"), docs.mistral.ai/api (Embeddings). Numbers come as
JSON numbers: not every server has the base64 of OpenAI's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from po_jupyter.llm.chat import ChatRequest
from po_jupyter.llm.wire.json_fields import as_text, mappings_in
from po_jupyter.llm.wire.usage import chat_usage
from po_jupyter.llm.wire.vector_reader import VectorReader
from po_jupyter.model.values.json import JsonObject


def embedding_body(request: ChatRequest) -> JsonObject:
    """The JSON body of a request for the vector of its one message."""
    return {"model": request.model_name, "input": request.messages[-1].content}


class EmbeddingReader(VectorReader):
    """The reader of a list with one embedding."""

    base_url_hint: ClassVar[str] = "Check the base URL: OpenAI's kind includes /v1."
    api: ClassVar[str] = "embeddings"

    def numbers_in(self, body: JsonObject) -> object:
        """See `VectorReader`."""
        self.model = as_text(body.get("model"))
        vectors = mappings_in(body.get("data"))
        return vectors[0].get("embedding") if len(vectors) == 1 else None  # of several nobody knows which

    def read_usage(self, body: JsonObject) -> None:
        """The usage of a body; all of it is input."""
        if isinstance(body.get("usage"), Mapping):
            self.usage = chat_usage(body["usage"])
