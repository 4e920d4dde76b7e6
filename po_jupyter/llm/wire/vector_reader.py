"""The reader of a vector (an embedding): the answer's text is `llm.vectors.pack` of its numbers."""

from __future__ import annotations

from po_jupyter.llm.vectors import pack
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.model.values.json import JsonObject


class VectorReader(ResponseReader):
    """The reader of one text's vector. A wire format says where its numbers are, and reads the usage."""

    def numbers_in(self, body: JsonObject) -> object:
        """The list of numbers in a body; anything else where there is none."""
        raise NotImplementedError

    def read_body(self, body: JsonObject) -> str:
        """The vector of a whole body, as text."""
        self.read_usage(body)
        self.finish = "stop"
        try:
            return pack(self.numbers_in(body))
        except ValueError as error:
            raise self.malformed(f"the answer has no vector that can be read: {error}") from None
