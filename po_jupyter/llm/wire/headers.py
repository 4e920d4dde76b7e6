"""Headers of an answer: names in any letters, values as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping


class AnswerHeaders(Mapping[str, str]):
    """Headers by their names, in whatever letters those are written; values of one name are joined by commas."""

    __slots__ = ("_values",)

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        """Those of a mapping."""
        self._values = {name.lower(): value for name, value in (headers or {}).items()}

    @classmethod
    def of_raw(cls, pairs: Iterable[tuple[bytes, bytes]]) -> AnswerHeaders:
        """Those that came over the wire; every byte is some sign of Latin-1, which HTTP's own reference names."""
        headers = cls()
        values = headers._values
        for raw_name, raw_value in pairs:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            values[name] = f"{values[name]}, {value}" if name in values else value
        return headers

    def __getitem__(self, name: str) -> str:
        """The value of a header. Raises KeyError."""
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        """Whether the header came."""
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        """The names, in small letters."""
        return iter(self._values)

    def __len__(self) -> int:
        """The number of names."""
        return len(self._values)
