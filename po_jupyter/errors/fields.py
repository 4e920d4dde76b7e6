"""Fields of errors: typed entries of their details, and violations of inputs. Imported from `po_jupyter.errors`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast, overload

T = TypeVar("T")
MAX_VIOLATIONS = 20  # that an error tells; nobody reads more, and an input can have 200,000
_MAX_PLACE, _MAX_MESSAGE = 300, 2000  # characters


class HasDetails(Protocol):
    """An error with JSON details."""

    details: dict[str, Any]


class DetailField(Generic[T]):
    """A typed field of an error that is kept in its `details`: code that decides reads the field, and it crosses a
    process boundary with the details.

    `default` is what a missing value, or one of another type than `kind`, reads as; setting None removes it.
    """

    def __init__(self, name: str, kind: type | tuple[type, ...], default: T) -> None:
        """See the class."""
        self._name, self._kind, self._default = name, kind, default

    @overload
    def __get__(self, error: None, owner: type[HasDetails]) -> DetailField[T]: ...

    @overload
    def __get__(self, error: HasDetails, owner: type[HasDetails]) -> T: ...

    def __get__(self, error: HasDetails | None, owner: type[HasDetails]) -> T | DetailField[T]:
        """The value in the details of `error`."""
        if error is None:
            return self
        value = error.details.get(self._name)
        return cast(T, value) if isinstance(value, self._kind) else self._default

    def __set__(self, error: HasDetails, value: T) -> None:
        """Write it to the details of `error`."""
        if value is None:
            error.details.pop(self._name, None)
        else:
            error.details[self._name] = value


class Violation(NamedTuple):
    """One thing that is wrong in an input."""

    where: str  # a path such as "tasks.classify.neds"; "" for the whole
    message: str
    line: int | None = None  # 1-based, within the text that was given
    column: int | None = None  # 1-based

    def __str__(self) -> str:
        """One line, with the place once."""
        if self.line:
            return f"line {self.line}: {self.message}"
        # Messages about a value begin with its path already.
        return self.message if self.message.startswith(self.where) else f"{self.where}: {self.message}"

    @classmethod
    def list_from_json(cls, value: object) -> list[Violation]:
        """The violations in the details of an error; entries that are none are passed over."""
        fields = set(cls._fields)
        entries = value if isinstance(value, list) else ()
        return [cls(**v) for v in entries if isinstance(v, dict) and {"where", "message"} <= set(v) <= fields]


def first_violations(violations: Iterable[Violation]) -> list[Violation]:
    """At most `MAX_VIOLATIONS`, each of readable length; the last says how many there are beside them."""
    listed: Sequence[Violation] = list(violations)
    if len(listed) > MAX_VIOLATIONS:
        rest = len(listed) - MAX_VIOLATIONS + 1
        listed = [*listed[: MAX_VIOLATIONS - 1], Violation("", f"and {rest:,} more")]
    return [v._replace(where=v.where[:_MAX_PLACE], message=clipped(v.message, _MAX_MESSAGE)) for v in listed]


def clipped(text: str, most: int) -> str:
    """The text, cut where it is longer than `most`."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
