"""Requests for the vectors of texts, and their numbers."""

from __future__ import annotations

from po_jupyter.errors import InvalidInput, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.llm.vectors import unpack


def embedding_request(base: ChatRequest, text: str, model: str | None = None) -> ChatRequest:
    """The request for the vector of `text`, of another model than `base` where one is named. Raises InvalidInput."""
    if not isinstance(text, str):  # a missing value of a table
        raise InvalidInput(
            f"{text!r:.40} is no text, so it has no vector", hint="Leave such rows out, or give str(value)."
        )
    if not text.strip():
        raise InvalidInput("an empty text has no vector", hint="Leave such rows out, for example with `where`.")
    return ChatRequest(
        model or base.model, (Message("user", text),), timeout=base.timeout, cache=base.cache, embed=True
    )


def vector_of(response: ChatResponse) -> list[float]:
    """The numbers of an answer. Raises ModelUnavailable where it has none."""
    try:
        return unpack(response.text)
    except ValueError as error:
        raise ModelUnavailable(f"{response.model} answered with no vector: {error}") from None
