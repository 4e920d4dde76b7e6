"""Server-sent events: bytes in, messages out. No I/O."""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Message(NamedTuple):
    """One event of a stream. `id` is the offset of a stored event, or None for an ephemeral one."""

    event: str
    data: dict[str, Any]
    id: int | None = None


class Parser:
    """Feed it what arrives; a message comes out when its empty line has arrived.

    Lines end with LF or CRLF only: a line separator inside of JSON text is not the end of a line.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._event = ""
        self._data: list[str] = []
        self._id: int | None = None

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that `chunk` completes. A message whose data is not a JSON object is dropped."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        found: list[Message] = []
        for raw in lines:
            line = raw.removesuffix(b"\r").decode("utf-8", "replace")
            if not line:
                message = self._take()
                if message is not None:
                    found.append(message)
                continue
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                self._event = value
            elif field == "data":
                self._data.append(value)
            elif field == "id" and value.isdecimal():
                self._id = int(value)
        return found

    def _take(self) -> Message | None:
        event, text, offset = self._event or "message", "\n".join(self._data), self._id
        self._event, self._data, self._id = "", [], None
        if not text:
            return None
        try:
            data = json.loads(text)
        except ValueError:
            return None
        return Message(event, data, offset) if isinstance(data, dict) else None
