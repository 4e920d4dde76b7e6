"""Lists whose values are read when they are looked at."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, overload


class LazyList(Sequence[Any]):
    """A list in all but type and memory: `list(value)` makes it one. It does not change."""

    @abstractmethod
    def read(self, index: int) -> Any:
        """The value at `index`, which is in range."""

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        """One value, or a list of those of a slice."""
        if isinstance(index, slice):
            return [self.read(i) for i in range(*index.indices(len(self)))]
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"row {index} of {size}")
        return self.read(index % size)

    def __iter__(self) -> Iterator[Any]:
        """The values in order, each read when it is reached."""
        return map(self.read, range(len(self)))

    def __eq__(self, other: object) -> bool:
        """The same values as a list or another lazy list."""
        return isinstance(other, list | LazyList) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # like a list's

    def __add__(self, other: Sequence[Any]) -> list[Any]:
        """A list, as of two lists."""
        return [*self, *other]

    def __radd__(self, other: Sequence[Any]) -> list[Any]:
        """A list, as of two lists."""
        return [*other, *self]

    def __repr__(self) -> str:
        """The number of rows; the values are not read."""
        return f"<{len(self)} rows>"


class RepeatedList(LazyList):
    """The values of a list, each so many times in a row: a, a, b, b."""

    def __init__(self, values: Sequence[Any], times: int) -> None:
        """`values` are read when they are looked at."""
        self._values, self._times = values, times

    def __len__(self) -> int:
        """The number of values, each as often as it is there."""
        return len(self._values) * self._times

    def read(self, index: int) -> Any:
        """The value at `index`."""
        return self._values[index // self._times]
