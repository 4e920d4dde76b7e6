"""Parser of server-sent events: bytes in, messages out. No I/O."""

from __future__ import annotations

import json
from typing import NamedTuple

from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.whole_numbers import whole_number


class SseMessage(NamedTuple):
    """One event of a stream. `id` is the offset of a stored event, or None for an ephemeral one."""

    event: str
    data: JsonObject
    id: int | None = None


class Parser:
    """An incremental parser; a message comes out when the empty line behind it has arrived.

    Lines end with LF or CRLF only: a line separator inside of JSON text is not the end of a line.
    """

    def __init__(self) -> None:
        """At the beginning of a stream."""
        self._rest = b""
        self._event = ""
        self._data: list[str] = []
        self._id: int | None = None

    def feed(self, chunk: bytes) -> list[SseMessage]:
        """The messages that `chunk` completes. A message whose data is not a JSON object is dropped."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        messages: list[SseMessage] = []
        for raw in lines:
            line = raw.removesuffix(b"\r").decode("utf-8", "replace")
            if not line:
                message = self._pop_message()
                if message is not None:
                    messages.append(message)
                continue
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                self._event = value
            elif field == "data":
                self._data.append(value)
            elif field == "id" and (number := whole_number(value)) is not None:
                self._id = number
        return messages

    def _pop_message(self) -> SseMessage | None:
        event, text, offset = self._event or "message", "\n".join(self._data), self._id
        self._event, self._data, self._id = "", [], None
        if not text:
            return None
        try:
            data = json.loads(text)
        except ValueError:
            return None
        return SseMessage(event, data, offset) if isinstance(data, dict) else None
