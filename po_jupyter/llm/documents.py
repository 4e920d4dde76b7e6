"""Documents in messages: PDF files, as base64 with their pages."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

from po_jupyter.errors import InvalidInput

PDF = "application/pdf"
# Gemini's requests have 20 MB at most, and base64 makes a third more ("Document understanding", ai.google.dev).
MAX_DOCUMENT_BYTES = 14 * 1024 * 1024
PAGE_TEXT = 3000
"""Tokens of a page's text, of which Anthropic says that it has 1,500 to 3,000 ("PDF support")."""
_MAGIC = b"%PDF-"
_HEAD = 1024  # bytes within which readers look for the magic


class DocumentJson(TypedDict):
    """A `Document` as JSON."""

    mime: str
    data: str
    pages: int
    text_tokens: NotRequired[int]


@dataclass(frozen=True, slots=True)
class Document:
    """A PDF: base64 (`data`), at most 14 MB decoded, and its number of `pages`, by which it is billed.

    `text_tokens` is the most that its text counts as where that is more than `PAGE_TEXT` a page, else 0.
    """

    data: str = field(repr=False)
    pages: int
    text_tokens: int = 0

    def __post_init__(self) -> None:
        """Raise InvalidInput for what is no PDF, and for one that is too large."""
        if len(self.data) > MAX_DOCUMENT_BYTES * 4 // 3 + 4:
            raise InvalidInput(too_large(len(self.data) * 3 // 4))
        if not is_pdf(decoded(self.data)):
            raise InvalidInput("the file is no PDF: it does not begin with %PDF-")
        if self.pages < 1:
            raise InvalidInput(f"a PDF has pages, and not {self.pages}")

    @property
    def mime(self) -> str:
        """The type of the document."""
        return PDF

    @property
    def url(self) -> str:
        """The document as a data URL."""
        return f"data:{PDF};base64,{self.data}"

    def to_json(self) -> DocumentJson:
        """As JSON: `{mime, data, pages}`, and `text_tokens` where they are more than those of its pages."""
        body: DocumentJson = {"mime": PDF, "data": self.data, "pages": self.pages}
        if self.text_tokens:
            body["text_tokens"] = self.text_tokens
        return body


def is_pdf(data: bytes) -> bool:
    """Whether bytes begin as a PDF does, whatever a file is called."""
    return _MAGIC in data[:_HEAD]


def decoded(data: str) -> bytes:
    """The bytes of base64. Raises InvalidInput."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("the file is not base64") from None


def too_large(size: int) -> str:
    """The message for a file of so many bytes."""
    return f"the file has {size / 1024**2:.1f} MB, at most {MAX_DOCUMENT_BYTES // 1024**2} MB are allowed"
