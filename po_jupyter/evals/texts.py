"""Texts as metrics compare them: normalised as the evaluation script of SQuAD 1.1 does, their tokens, their numbers."""

from __future__ import annotations

import json
import math
import re
import string
import unicodedata
from decimal import Decimal

from po_jupyter.model.values.json import JsonValue

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")


def plain_text(value: JsonValue) -> str:
    """The text of a value: text without the white space around it and with composed letters, all else as JSON."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value).strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def folded(value: JsonValue) -> str:
    """The text of a value without case, and with one space for each run of white space."""
    return " ".join(plain_text(value).casefold().split())


def squad_text(value: JsonValue) -> str:
    """The text in lower case, without ASCII punctuation and the articles a, an, the (Rajpurkar et al. 2016, the
    function `normalize_answer` of their evaluate-v1.1.py); letters are composed before."""
    text = plain_text(value).lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def number_of(value: JsonValue) -> float | None:
    """The number that a value is or that its text spells, `1,234.5` too; None for none, and for one not finite."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        value = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
    try:
        number = float(value)  # type: ignore[arg-type]  # what is no number is refused
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def spelled_number(text: str) -> int | float | None:
    """The number that a text spells; of a whole one no digit is rounded."""
    rounded = number_of(text)
    if rounded is None or not rounded.is_integer():
        return rounded
    plain = text.strip()
    exact = Decimal(plain.replace(",", "") if _THOUSANDS.fullmatch(plain) else plain)
    return int(exact) if exact == exact.to_integral_value() else rounded
