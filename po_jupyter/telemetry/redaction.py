"""Redaction: secrets are taken out of texts by name (a field called `token`) and by value (a key that this process
knows) (P10).

A worker has the keys of its run alone. Of all others it gets fingerprints: enough to notice a key in what it writes
(a seed, a file that a task read), too little to make one of.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from hashlib import blake2b
from typing import Any, TypedDict
from urllib.parse import unquote

from po_jupyter.config import Settings

STARS = "********"
_SECRET_NAME = re.compile(
    r"(^|[_-])(api[_-]?key|key|token|secret|password|passwd|authorization|cookie|credential)s?$", re.IGNORECASE
)
_SHORTEST = 8  # characters; a shorter value would hit words


class Fingerprint(TypedDict):
    """What is told of a secret that is not given away: both ends, as `po keys list` shows them, the length, and a
    digest under a salt."""

    begins: str
    ends: str
    length: int
    salt: str
    digest: str


def fingerprint(secret: str) -> Fingerprint:
    """The fingerprint of a secret; two of the same secret differ."""
    quarter, salt = len(secret) // 4, os.urandom(16).hex()
    return {
        "begins": secret[: min(3, quarter)],
        "ends": secret[-min(4, quarter) :],
        "length": len(secret),
        "salt": salt,
        "digest": _digest(secret, salt),
    }


def _digest(text: str, salt: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), key=bytes.fromhex(salt), digest_size=32).hexdigest()


def fingerprints_of(secrets: Iterable[str]) -> list[Fingerprint]:
    """The fingerprints of those that are long enough to be told from words."""
    return [fingerprint(secret) for secret in sorted(set(secrets)) if len(secret) >= _SHORTEST]


class Redactor:
    """The redactor: takes secrets out of text and values. A value shorter than 8 characters is no secret: it would hit
    words."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """`secrets` are known from the start, by value."""
        self._pattern: re.Pattern[str] | None = None
        self._secrets: set[str] = set()
        self._fingerprints: list[Fingerprint] = []
        self._beginnings: re.Pattern[str] | None = None  # of secrets that are known by fingerprint
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Know further secrets by value."""
        self._secrets |= {s for s in secrets if len(s) >= _SHORTEST}
        if self._secrets:
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def learn_fingerprints(self, fingerprints: Iterable[Fingerprint]) -> None:
        """Know further secrets, without having them."""
        self._fingerprints += fingerprints
        self._beginnings = None

    def text(self, text: str) -> str:
        """`text` with stars where a secret stood."""
        if self._pattern is not None:
            text = self._pattern.sub(STARS, text)
        if not self._fingerprints:
            return text
        places = list(self._recognized(text))
        for begin, end in sorted(places, reverse=True):
            text = f"{text[:begin]}{STARS}{text[end:]}"
        return text

    def _recognized(self, text: str) -> Iterator[tuple[int, int]]:
        """Where a secret stands that is known by its fingerprint, each place once."""
        if self._beginnings is None:  # compiled at its first use: most workers write nothing
            beginnings = sorted({known["begins"] for known in self._fingerprints})
            self._beginnings = re.compile(f"(?={'|'.join(map(re.escape, beginnings))})")
        after = 0
        for match in self._beginnings.finditer(text):
            begin = match.start()
            if begin < after:
                continue
            lengths = [k["length"] for k in self._fingerprints if _fits(k, text, begin)]
            if lengths:
                after = begin + max(lengths)
                yield begin, after

    def bytes(self, data: bytes) -> bytes:
        """The same for a text that is encoded as UTF-8."""
        text = data.decode("utf-8", "surrogateescape")
        return self.text(text).encode("utf-8", "surrogateescape")

    def value(self, value: Any, depth: int = 0) -> Any:
        """The same for JSON values; fields with a secret's name are starred whatever they hold."""
        if isinstance(value, str):
            return self.text(value)
        if depth > 6:
            return value
        if isinstance(value, Mapping):
            return {
                k: STARS
                if v and isinstance(v, str) and _SECRET_NAME.search(str(k))
                else self.value(v, depth + 1)
                for k, v in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(v, depth + 1) for v in value]
        return value

    def scrub(self, value: Any) -> Any:
        """A JSON value, however deep, without the texts of secrets; by value only: names are the user's."""
        if self._pattern is None and not self._fingerprints:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(k) if isinstance(k, str) else k: self.scrub(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.scrub(v) for v in value]
        return value

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The structlog processor."""
        return self.value(dict(event))  # type: ignore[no-any-return]  # a mapping stays one


def _fits(known: Fingerprint, text: str, begin: int) -> bool:
    candidate = text[begin : begin + known["length"]]
    return (
        len(candidate) == known["length"]
        and candidate.startswith(known["begins"])
        and candidate.endswith(known["ends"])
        and _digest(candidate, known["salt"]) == known["digest"]
    )


redactor = Redactor()  # the one of this process


def is_secret_name(name: str) -> bool:
    """Whether a variable or a field of that name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def secrets_of(environ: Mapping[str, str], settings: Settings | None = None) -> list[str]:
    """The values in an environment (and the settings) that must not be seen."""
    values = [v for k, v in environ.items() if is_secret_name(k)]
    if settings is not None and settings.auth_token is not None:
        values.append(settings.auth_token.get_secret_value())
    if settings is not None and settings.log_remote_token is not None:
        values.append(settings.log_remote_token.get_secret_value())
    if settings is not None:
        values += [secret for channel in settings.notifications.values() for secret in channel.secrets()]
    for url in (settings.store, settings.broker) if settings is not None else ():
        values += _passwords_in(url.get_secret_value()) if url is not None else []
    return values


def _passwords_in(url: str) -> list[str]:
    """What may be a password in the URL of a database or a broker, written and meant, whatever else is wrong."""
    user = url.partition("://")[2].rpartition("@")[0]
    written = [user.partition(":")[2], *re.findall(r"[?&]password=([^&]*)", url)]
    return [text for password in written if password for text in dict.fromkeys((password, unquote(password)))]
