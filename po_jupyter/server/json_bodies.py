"""JSON bodies of requests and answers. Small ones are read and written there and then, large ones in a thread and
in pieces, so that the server's loop serves others meanwhile (P9)."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from po_jupyter.errors import InvalidInput, RateLimited
from po_jupyter.model.values import chunked_json
from po_jupyter.model.values.json import JsonObject, exact_number, unique_names

if TYPE_CHECKING:
    from po_jupyter.server.routing.context import BodyCounter

T = TypeVar("T")
_read_small = partial(json.loads, parse_float=exact_number)
LARGE = 256 * 1024  # bytes; up to there it is a matter of 3 ms
_MOST_BRACKETS = (
    3_000_000  # each opens an object or a list: three bytes of a body, and a hundred times that in memory
)
_WAIT = 2  # s, after which a client that sent too much at once tries again
# An escaped half of a surrogate pair without its other half. (A backslash that is itself escaped is looked at
# as well: then the closer look finds nothing.)
_HALF = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|"
    rb"(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)


class BodyMemory:
    """The bytes of bodies that are held at the same time, by credentials: what one of them sends at once is bounded, so
    that it does not fill the memory of the server. For this server alone."""

    def __init__(self, most: int) -> None:
        """`most` bytes for each credentials."""
        self._most = most
        self._held: Counter[str] = Counter()

    def hold(self, key: str, size: int) -> None:
        """Hold `size` more bytes. Raises RateLimited, and then holds none of them."""
        if self._held[key] + size > self._most:
            raise RateLimited(
                f"more than {self._most} bytes of requests at once",
                hint="Wait for the answer to one before you send the next.",
                details={"retry_after": _WAIT},
            )
        self._held[key] += size

    def release(self, key: str, size: int) -> None:
        """Hold them no longer."""
        self._held[key] -= size
        if self._held[key] <= 0:
            del self._held[key]


class ReceivedBody:
    """The body of one request while it comes, and until it is answered. Its bytes are counted in a `BodyMemory`."""

    def __init__(self, memory: BodyCounter) -> None:
        """Nothing has come yet."""
        self._memory = memory
        self._chunks: list[bytes] = []
        self._key = ""
        self._counted = 0

    def append(self, chunk: bytes, key: str) -> None:
        """Keep a part, which counts for the credentials `key`. Raises RateLimited."""
        self._memory.hold(key, len(chunk))
        self._key = key
        self._counted += len(chunk)
        self._chunks.append(chunk)

    def clear(self) -> None:
        """Forget the parts; they still count."""
        self._chunks.clear()

    def release(self) -> None:
        """Forget the parts, which count no longer; again changes nothing."""
        self.clear()
        if self._counted:
            self._memory.release(self._key, self._counted)
            self._counted = 0

    def take(self) -> bytes:
        """All that came, which is not kept here any more; it counts until `release`."""
        text = b"".join(self._chunks)
        self.clear()
        return text


async def read(text: bytes) -> JsonObject:
    """The object of a request's body; {} for none. Raises InvalidInput."""
    if len(text) <= LARGE:
        return _read(text)
    return await _in_thread(lambda: _read(text))


def _read(text: bytes) -> JsonObject:
    if not text.strip():
        return {}
    if len(text) > _MOST_BRACKETS and text.count(b"{") + text.count(b"[") > _MOST_BRACKETS:
        raise InvalidInput(
            f"the body has more than {_MOST_BRACKETS:,} objects and lists",
            hint="Send rows as a file (PUT blobs), as `client.submit` does with large tables.",
        )
    try:
        load = _read_small if len(text) <= LARGE else chunked_json.read_json
        value = load(text, parse_constant=_no_constant, object_pairs_hook=unique_names)
        if _HALF.search(text):
            for piece in chunked_json.json_chunks(value):
                piece.encode()  # half a surrogate pair is no text
    except RecursionError:
        raise InvalidInput("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"the body is not JSON: {error.msg}", hint=f"Look at line {error.lineno}, column {error.colno}."
        ) from None
    except ValueError as error:
        raise InvalidInput(f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"the body must be a JSON object, not {type(value).__name__}")
    return value


async def write(value: Any) -> bytes:
    """A response as JSON."""
    if chunked_json.is_larger_than(value, LARGE):
        return await _in_thread(lambda: _write(value))
    return _write(value)


async def _in_thread(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except RuntimeError:  # no thread can be started: slower for the others, and done
        return work()


def _write(value: Any) -> bytes:
    return b"".join(piece.encode("utf-8", "surrogatepass") for piece in chunked_json.json_chunks(value))


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
