"""Parts of a message besides its text: images, offered tools, and the calls that a model makes."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from po_jupyter.errors import InvalidInput
from po_jupyter.model.values.json import JsonObject

# The smallest of the vendors' own bounds: Anthropic takes 5 MB an image ("Vision", platform.claude.com).
MAX_IMAGE_BYTES = 5 * 1024 * 1024
IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: base64 (`data`) and its `mime` type, one of `IMAGE_TYPES`, at most 5 MB decoded.

    No URLs: the provider would fetch them at a time of its own, and the same request could mean another
    picture tomorrow.
    """

    data: str = field(repr=False)
    mime: str

    def __post_init__(self) -> None:
        """Raise InvalidInput for another type, an image that is too large, and text that is not base64."""
        if self.mime not in IMAGE_TYPES:
            raise InvalidInput(f"an image is one of {', '.join(IMAGE_TYPES)}, not {self.mime!r:.60}")
        if len(self.data) > MAX_IMAGE_BYTES * 4 // 3 + 4:
            size = len(self.data) * 3 / 4 / 1024**2
            raise InvalidInput(
                f"the image is {size:.1f} MB, at most {MAX_IMAGE_BYTES // 1024**2} MB are allowed",
                hint="Make it smaller first: 1,500 pixels on the long side are as much as most models look at.",
            )
        try:
            base64.b64decode(self.data, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput("the image is not base64") from None

    @classmethod
    def of(cls, source: str | bytes, mime: str = "") -> Image:
        """An image from bytes, a data URL (`data:image/png;base64,...`) or base64 text.

        The type of bytes, and of a data URL without one, is detected from their beginning; base64 text needs `mime`.
        Raises InvalidInput.
        """
        if isinstance(source, bytes):
            data = base64.b64encode(source).decode()
            return cls(data, mime or _type_of(data))
        if source.startswith("data:"):
            head, comma, data = source.partition(",")
            kind, *parameters = head.removeprefix("data:").split(";")
            if not comma or "base64" not in parameters:
                raise InvalidInput("a data URL of an image is data:MIME;base64,DATA")
            return cls(data, kind or _type_of(data))
        if source.startswith(("http://", "https://")):
            raise InvalidInput(
                "an image is its content, not a URL",
                hint="Read it first: the answer must not depend on a fetch.",
            )
        return cls(source, mime)

    @property
    def url(self) -> str:
        """The image as a data URL."""
        return f"data:{self.mime};base64,{self.data}"

    def to_json(self) -> dict[str, str]:
        """As JSON: `{mime, data}`."""
        return {"mime": self.mime, "data": self.data}


def _type_of(data: str) -> str:
    """The type of an image by its first bytes; "" for an unknown type, and for text that is not base64."""
    try:
        first = base64.b64decode(data[:16], validate=True)
    except (binascii.Error, ValueError):
        return ""
    return next((kind for magic, kind in _MAGIC if first.startswith(magic)), "")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask to be called. `parameters` is the JSON Schema of its arguments."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    def __post_init__(self) -> None:
        """Raise InvalidInput for a name that some provider refuses."""
        if not _TOOL_NAME.fullmatch(self.name):
            raise InvalidInput(
                f"a tool's name is 1 to 64 letters, digits, _ or -, not {self.name!r:.80}",
                hint="That is what every provider accepts.",
            )

    def to_json(self) -> JsonObject:
        """As JSON: `{name, description, parameters}`."""
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that the model asks for; the result goes back as `Message("tool", text, tool_call_id=id)`.

    Name and arguments are the model's own text: check them before anything is done with them (P6).
    """

    id: str
    name: str
    arguments: Mapping[str, Any]

    def to_json(self) -> JsonObject:
        """As JSON: `{id, name, arguments}`."""
        return {"id": self.id, "name": self.name, "arguments": dict(self.arguments)}
