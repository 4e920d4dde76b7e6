"""JSON bodies of requests and answers. Small ones are read and written there and then, large ones in a thread and
in pieces, so that the server's loop serves others meanwhile (P9)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from po_jupyter.errors import InvalidInput
from po_jupyter.model.values import chunked_json
from po_jupyter.model.values.json import JsonObject

T = TypeVar("T")
LARGE = 256 * 1024  # bytes; up to there it is a matter of 3 ms
# An escaped half of a surrogate pair without its other half. (A backslash that is itself escaped is looked at
# as well: then the closer look finds nothing.)
_HALF = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|"
    rb"(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)


async def read(text: bytes) -> JsonObject:
    """The object of a request's body; {} for none. Raises InvalidInput."""
    if len(text) <= LARGE:
        return _read(text)
    return await _in_thread(lambda: _read(text))


def _read(text: bytes) -> JsonObject:
    if not text.strip():
        return {}
    try:
        load = json.loads if len(text) <= LARGE else chunked_json.read_json
        value = load(text, parse_constant=_no_constant)
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
