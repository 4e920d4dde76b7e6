"""Reading a vector: an answer without one is an error that may have been paid for."""

from __future__ import annotations

import pytest

from po_jupyter.errors import ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.vectors import unpack
from po_jupyter.llm.wire.vector_reader import VectorReader
from po_jupyter.model.values.json import JsonObject


class Plain(VectorReader):
    def numbers_in(self, body: JsonObject) -> object:
        return body.get("vector")


def reader() -> Plain:
    return Plain("v", ChatRequest("v:m", (Message("user", "hello"),), embed=True), None, "")


def test_the_text_of_the_answer_is_the_vector() -> None:
    assert unpack(reader().read_body({"vector": [1, 0.5]})) == [1.0, 0.5]


@pytest.mark.parametrize("vector", [None, [], ["x"], "text"])
def test_an_answer_without_a_vector_is_an_error(vector: object) -> None:
    with pytest.raises(ModelUnavailable, match="no vector that can be read") as caught:
        reader().read_body({"vector": vector})
    assert caught.value.may_be_billed
