"""JSON as bytes: the only shape in which a value reaches the disk or comes back (P4).

A stored blob is one letter and the text: `j` + JSON, or `z` + zlib (level 1) of the JSON where that pays. On
2 KB of events level 1 costs 9 µs and leaves a quarter; level 6 costs five times that for a few bytes.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

from pydantic_core import from_json, to_json

from po_jupyter.errors import InvalidInput
from po_jupyter.model.values.json import exact_number, unique_names

LARGEST = 256 * 2**20  # bytes of one row's JSON; also what a compressed row may unfold to
SMALLEST_TO_COMPRESS = 200  # bytes


# Readers take these words, and make infinities of numbers that are too large.
_PERHAPS_INFINITE = re.compile(rb"NaN|Infinity|[eE]\+?\d{3}|\d{309}")


_PERHAPS_INEXACT = re.compile(rb"\d{16}\.0")
_NAME = re.compile(rb'"\s*:')


class JsonText(bytes):
    """JSON that is encoded already; a store takes it wherever it takes a payload."""

    __slots__ = ()


class Unreadable(ValueError):
    """Bytes that are not what `pack` made. Says why; who knows the row adds its place."""


def encode(value: Any) -> JsonText:
    """`value` as compact UTF-8 JSON. A tuple becomes a list.

    Raises InvalidInput, naming the place, for anything that would not come back as it went in: other types,
    keys that are not strings, NaN and infinities.
    """
    if type(value) is JsonText:
        return value
    try:
        _check(value)
        try:
            text = to_json(value)
        except ValueError:
            # A lone surrogate is legal in a Python string and in escaped JSON, but not in UTF-8. Models do
            # answer such text (an emoji cut in half), and an answer that was paid for is kept.
            text = json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise InvalidInput("the value is nested too deeply for JSON, or contains itself") from None
    except _NotJson:
        path, problem = _culprit(value, "")
        raise InvalidInput(
            f"{path or 'the value'}: {problem}",
            hint="Only JSON is stored: objects with text keys, lists, text, finite numbers, true, false, null.",
        ) from None
    if len(text) > LARGEST:
        raise InvalidInput(
            f"the value is {len(text) / 2**20:.0f} MiB of JSON; one row holds at most {LARGEST // 2**20} MiB",
            hint="Write it as an artifact and keep its name.",
        )
    return JsonText(text)


def decode(text: bytes) -> Any:
    """The value of `text`. Raises Unreadable."""
    try:
        return from_json(text)
    except ValueError:
        pass  # the strict and quick reader refuses escaped lone surrogates
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"is not JSON ({error})") from None


def decode_foreign(text: bytes) -> Any:
    """The value of `text` from somewhere else, numbers by `exact_number`. Raises Unreadable."""
    if _PERHAPS_INEXACT.search(text):
        try:
            return json.loads(text, parse_float=exact_number)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"is not JSON ({error})") from None
    return decode(text)


def checked_foreign(text: bytes) -> Any:
    """The value of `text` as `decode_foreign` has it. Raises Unreadable, also for NaN, for numbers that are too large,
    and for an object that names something twice."""
    value = decode_foreign(text)
    if len(_NAME.findall(text)) > _names_in(value):  # perhaps; a text may look like a name
        try:
            json.loads(text, object_pairs_hook=unique_names)
        except ValueError as error:
            raise Unreadable(f"is not usable: {error}") from None
    if _PERHAPS_INFINITE.search(text):
        try:
            _check(value)
        except (_NotJson, RecursionError):
            raise Unreadable("is not JSON ({} {})".format(*_culprit(value, ""))) from None
    return value


def _names_in(value: Any) -> int:
    """The number of names in all objects of a value."""
    names, waiting = 0, [value]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            names += len(value)
            waiting += [inner for inner in value.values() if type(inner) in (dict, list)]
        elif type(value) is list:
            waiting += [inner for inner in value if type(inner) in (dict, list)]
    return names


def pack(text: bytes) -> bytes:
    """`text` as a stored blob."""
    if len(text) > SMALLEST_TO_COMPRESS:
        small = _compressed(text)
        if len(small) < len(text) * 0.9:
            return b"z" + small
    return plain(text)


def plain(text: bytes) -> bytes:
    """`text` as a stored blob that is not compressed."""
    return b"j" + text


def _compressed(text: bytes) -> bytes:
    # zlib's usual tables take 256 KB of fresh memory each time, which costs 100 µs. A text that fits into a
    # window of 4 KB is compressed as well with tables of 24 KB.
    bits, memory = (12, 5) if len(text) <= 4096 else (zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL)
    tool = zlib.compressobj(1, zlib.DEFLATED, bits, memory)
    return tool.compress(text) + tool.flush()


def unpack(blob: bytes) -> bytes:
    """The JSON text in a blob. Raises Unreadable; never unfolds more than LARGEST bytes."""
    kind = blob[:1]
    if kind == b"j":
        return blob[1:]
    if kind != b"z":
        raise Unreadable("was not written by po_jupyter")
    unfold = zlib.decompressobj()
    try:
        text = unfold.decompress(blob[1:], LARGEST)
    except zlib.error as error:
        raise Unreadable(f"is damaged ({error})") from None
    if not unfold.eof:
        if unfold.unconsumed_tail:
            raise Unreadable(f"unfolds to more than {LARGEST // 2**20} MiB")
        raise Unreadable("is cut off")
    return text


class _NotJson(Exception):
    pass


_INFINITE = (float("inf"), float("-inf"))


def _check(value: Any) -> None:
    # `to_json` is lenient (sets, bytes, dates, int keys, NaN all become something), so strictness is here.
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return
    if kind is dict:
        for key, inner in value.items():
            if type(key) is not str:
                raise _NotJson
            kind = type(inner)
            if kind is not str and kind is not int and kind is not bool and inner is not None:
                _check(inner)
    elif kind is list or isinstance(value, tuple):
        for inner in value:
            _check(inner)
    elif kind is not float or value != value or value in _INFINITE:
        raise _NotJson


def _culprit(value: Any, path: str) -> tuple[str, str]:
    """The path of the first thing in `value` that is not JSON, and what is wrong with it."""
    if type(value) is dict:
        for key, inner in value.items():
            if type(key) is not str:
                return path, f"the key {key!r:.60} is a {type(key).__name__}, not text"
            culprit = _culprit(inner, f"{path}.{key}" if path else key)
            if culprit[1]:
                return culprit
    elif type(value) is list or isinstance(value, tuple):
        for i, inner in enumerate(value):
            culprit = _culprit(inner, f"{path}[{i}]")
            if culprit[1]:
                return culprit
    else:
        try:
            _check(value)
        except _NotJson:
            shown = f"{value} is not a JSON number" if type(value) is float else ""
            return path, shown or f"a {type(value).__name__} is not JSON"
    return path, ""
