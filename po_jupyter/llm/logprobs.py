"""Log probabilities of the tokens of an answer, and the probability of the label that it chose.

A label is as probable as its tokens together ("Using logprobs", cookbook.openai.com). Each token counts among those
that go on to one of the labels, as where decoding is held to a grammar (Willard and Louf, "Efficient Guided Generation
for Large Language Models", arXiv 2307.09702): what the model would have said instead of any label is left out, and so
is a token that may still become the label chosen and another one, unless it has the whole of that one already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from math import exp
from typing import Any, NamedTuple

from po_jupyter.model.values.json import JsonObject, JsonValue

ALTERNATIVES = 5
"""Alternatives of each token that are asked for: what every vendor gives (Fireworks 5, OpenAI and Gemini 20)."""
_LONGEST_CHARACTER = 4  # bytes in UTF-8
_MOST = 1e300  # where a number is none any more
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_GOES_ON_NUMBER = frozenset("0123456789.eE+-")


class TokenLogprob(NamedTuple):
    """A token of an answer with its log probability, and its most probable `alternatives`; it may be one of them."""

    token: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...] = ()

    def to_json(self) -> list[JsonValue]:
        """As JSON: `[token, logprob, [[alternative, logprob], ...]]`."""
        return [self.token, self.logprob, [list(one) for one in self.alternatives]]


def from_json(tokens: Iterable[Sequence[Any]] | None) -> tuple[TokenLogprob, ...]:
    """The tokens that `to_json()` described; none where there were none."""
    return tuple(
        TokenLogprob(token, logprob, tuple((text, number) for text, number in alternatives))
        for token, logprob, alternatives in tokens or ()
    )


def read_tokens(entries: Sequence[JsonObject], *, logprob: str = "logprob") -> list[TokenLogprob]:
    """Tokens with their `top_logprobs`, as Chat Completions has them; one that is none ends the list. Pieces of a
    character, which vendors give as `bytes`, become one token."""
    tokens: list[TokenLogprob] = []
    pending, pending_logprob = b"", 0.0
    for entry in entries:
        number, text = _logprob(entry.get(logprob)), entry.get("token")
        if number is None or not isinstance(text, str) or len(pending) >= _LONGEST_CHARACTER:
            break
        raw = entry.get("bytes")
        pending += _as_bytes(raw) if isinstance(raw, list) else text.encode("utf-8", "replace")
        pending_logprob += number
        try:
            whole = pending.decode()
        except UnicodeDecodeError:
            continue
        alone = pending_logprob == number
        others = entry.get("top_logprobs") if alone else None
        tokens.append(TokenLogprob(whole, pending_logprob, alternatives_of(others, logprob)))
        pending, pending_logprob = b"", 0.0
    return tokens


def _logprob(value: object) -> float | None:
    """A log probability as servers send them, rounded above 0 too; None: it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MOST:  # nor NaN
        return None
    return min(0.0, float(value))


def _as_bytes(raw: list[Any]) -> bytes:
    return bytes([byte for byte in raw if isinstance(byte, int) and 0 <= byte < 256])


def alternatives_of(entries: object, logprob: str = "logprob") -> tuple[tuple[str, float], ...]:
    """The alternatives of a token, those that are none left out."""
    return tuple(
        (entry["token"], number)
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict)
        and isinstance(entry.get("token"), str)
        and (number := _logprob(entry.get(logprob))) is not None
    )


def label_probability(
    tokens: Sequence[TokenLogprob], field: str, label: JsonValue, labels: Iterable[JsonValue]
) -> float | None:
    """The probability of `label`, the value of `field` in the JSON that the tokens are, from 0 to 1; None where it is
    not found in them. With the quote at its end, which tells `bug` from `bugfix`, and with what ends a number."""
    text = "".join(token.token for token in tokens)
    place = _place(text, field, label)
    if place is None:
        return None
    chosen = text[slice(*place)]
    others = [
        spelling
        for one in labels
        if one != label or isinstance(one, bool) is not isinstance(label, bool)
        for spelling in _spellings(one)
    ]
    quoted = chosen.startswith('"')
    begin = place[0] + quoted  # what comes before the label itself is the same for all
    at, probability = 0, 1.0
    for token in tokens:
        start, at = at, at + len(token.token)
        if at > begin and (start < place[1] or (start == place[1] and not quoted and token.alternatives)):
            probability *= _part(token, text[place[0] : start], text[start : place[0]], chosen, others)
    return min(1.0, max(0.0, probability))


def _place(text: str, field: str, label: JsonValue) -> tuple[int, int] | None:
    """Where the label stands: the last time, for a model may think aloud before, and not in an object in the answer
    that has such a field of its own; None: nowhere."""
    spellings = "|".join(map(re.escape, _spellings(label)))
    ends = "" if isinstance(label, str) else r"(?![\d.eE+-])"
    pattern = rf"{re.escape(json.dumps(field))}\s*:\s*(?P<label>{spellings}){ends}"
    found = list(re.finditer(pattern, text))
    at_top = _strings_at_top(text) if len(found) > 1 else frozenset[int]()
    places = [one.span("label") for one in found if one.start() in at_top] or [
        one.span("label") for one in found
    ]
    return places[-1] if places else None


def _strings_at_top(text: str) -> frozenset[int]:
    """Where strings begin that are in an object, and not in another one or a list within it."""
    depth, begins = 0, set[int]()
    for part in _STRUCTURE.finditer(text):
        if (sign := part[0][0]) == '"':
            if depth == 1:
                begins.add(part.start())
        else:
            depth = depth + 1 if sign in "{[" else max(0, depth - 1)
    return frozenset(begins)


def _part(token: TokenLogprob, written: str, before: str, chosen: str, others: Sequence[str]) -> float:
    """The probability of a token among those that go on to a label. `written` is of the label so far, `before` what the
    token has ahead of it."""
    right = exp(token.logprob)
    wrong = 0.0
    whole = {other.removesuffix('"') for other in others}
    for text, logprob in token.alternatives:
        if text == token.token or not text.startswith(before):
            continue
        then = written + text.removeprefix(before)
        fits = _goes_on(then, chosen)
        fits_another = any(_goes_on(then, other) for other in others)
        if fits and not fits_another:
            right += exp(logprob)
        elif fits_another and (not fits or then in whole):
            wrong += exp(logprob)
    # A token that the server holds for impossible (-9999) may have no label beside it.
    return right / (right + wrong) if token.alternatives and right + wrong else right


def _goes_on(text: str, label: str) -> bool:
    """Whether a text is the beginning of a label, or has it whole: a number with no more digits behind it."""
    if not text.startswith(label):
        return label.startswith(text)
    return text == label or label.startswith('"') or text[len(label)] not in _GOES_ON_NUMBER


def _spellings(label: JsonValue) -> list[str]:
    """The ways in which JSON writes a label."""
    return list(dict.fromkeys([json.dumps(label), json.dumps(label, ensure_ascii=False)]))
