"""Redaction: secrets are taken out of texts by name (a field called `token`) and by value (a key that this process
knows) (P10)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from po_jupyter.config import Settings

STARS = "********"
_SECRET_NAME = re.compile(
    r"(^|[_-])(api[_-]?key|key|token|secret|password|passwd|authorization|cookie|credential)s?$", re.IGNORECASE
)


class Redactor:
    """The redactor: takes secrets out of text and values. A value shorter than 8 characters is no secret: it would hit
    words."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """`secrets` are known from the start, by value."""
        self._pattern: re.Pattern[str] | None = None
        self._secrets: set[str] = set()
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Know further secrets by value."""
        self._secrets |= {s for s in secrets if len(s) >= 8}
        if self._secrets:
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """`text` with stars where a secret stood."""
        return self._pattern.sub(STARS, text) if self._pattern is not None else text

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
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self._pattern.sub(STARS, value)
        if isinstance(value, dict):
            return {self.text(k) if isinstance(k, str) else k: self.scrub(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.scrub(v) for v in value]
        return value

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The structlog processor."""
        return self.value(dict(event))  # type: ignore[no-any-return]  # a mapping stays one


redactor = Redactor()  # the one of this process


def secrets_of(environ: Mapping[str, str], settings: Settings | None = None) -> list[str]:
    """The values in an environment (and the settings) that must not be seen."""
    values = [v for k, v in environ.items() if _SECRET_NAME.search(k)]
    if settings is not None and settings.auth_token is not None:
        values.append(settings.auth_token.get_secret_value())
    if settings is not None and settings.log_remote_token is not None:
        values.append(settings.log_remote_token.get_secret_value())
    return values
