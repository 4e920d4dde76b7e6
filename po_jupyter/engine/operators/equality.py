"""Equality of JSON values as keys: a text for each value, the same text for values that count as the same."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Key: TypeAlias = str
KeyOf: TypeAlias = Callable[[Any], Key]
"""What makes keys of values: `exact_key`, `loose_key`; one by meaning (embeddings) would be another."""

_DEEPEST = 100


def exact_key(value: Any) -> Key:
    """The key of a value: 1, "1" and true differ, 1 and 1.0 do not, nor do two spellings of one text in Unicode. NaN is
    the same as NaN, null as null. Raises ValueError for what is no JSON."""
    return json.dumps(_plain(value, _composed, 0), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def loose_key(value: Any) -> Key:
    """The key of a value whose texts are compared without regard to case, width and spaces. Raises ValueError."""
    return json.dumps(_plain(value, _loose, 0), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def is_nothing(value: Any) -> bool:
    """Whether a value is null or NaN, which is equal to nothing in a join."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _loose(text: str) -> str:
    folded = text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split())


def _plain(value: Any, text: Callable[[str], str], depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(str(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else float(value)
    if depth > _DEEPEST:
        raise ValueError("a key is nested too deeply")
    if isinstance(value, Mapping):
        return {str(name): _plain(inner, text, depth + 1) for name, inner in value.items()}
    if isinstance(value, Sequence):
        return [_plain(inner, text, depth + 1) for inner in value]
    raise ValueError(f"a key is a JSON value, not {type(value).__name__}")
