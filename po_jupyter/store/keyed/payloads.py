"""The payloads of one record, joined into one row that can be read apart again.

The row is JSON, `[[length, ...], value, ...]`, with the lengths of the values in bytes in front: one payload
of a record that holds hundreds (group commit) is found without decoding the others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from threading import Lock
from typing import Any

from po_jupyter.errors import CorruptRow, InvalidInput
from po_jupyter.store.json_codec import JsonText, Unreadable, decode, encode

MISSING = object()
_KEEP = 8 * 2**20  # bytes of rows kept for the next reader


def join(values: Sequence[Any]) -> JsonText:
    """The row. Raises InvalidInput, naming the payload, for what is not JSON."""
    texts = []
    for i, value in enumerate(values):
        try:
            texts.append(encode(value))
        except InvalidInput as error:
            raise InvalidInput(f"payload {i}: {error.message}", hint=error.hint) from None
    lengths = encode([len(text) for text in texts])
    return JsonText(b"[" + b",".join([lengths, *texts]) + b"]")


class JoinedPayloads:
    """A row, read apart."""

    __slots__ = ("_row", "_spans")

    def __init__(self, row: bytes, spans: list[tuple[int, int]]) -> None:
        """See `split`."""
        self._row = row
        self._spans = spans

    def __len__(self) -> int:
        """Bytes of the row."""
        return len(self._row)

    def value(self, at: int) -> Any:
        """The value at that index, decoded anew for every caller, or MISSING."""
        if not 0 <= at < len(self._spans):
            return MISSING
        start, end = self._spans[at]
        return _decoded(self._row[start:end])

    def all(self) -> list[Any]:
        """Every value."""
        return [self.value(at) for at in range(len(self._spans))]


def split(row: bytes) -> JoinedPayloads:
    """Raises CorruptRow for a row that `join` did not make."""
    end = row.find(b"]")
    lengths = _decoded(row[1 : end + 1]) if row.startswith(b"[[") else [0]
    are_lengths = all(type(length) is int and length > 0 for length in lengths)
    if not are_lengths or sum(lengths) + len(lengths) + end + 2 != len(row):
        raise CorruptRow(
            "a row of payloads does not say where its values are", hint="It was not written by po_jupyter."
        )
    ends = list(accumulate(lengths, lambda last, length: last + 1 + length, initial=end + 1))
    return JoinedPayloads(row, [(last + 1, this) for last, this in pairwise(ends)])


def _decoded(text: bytes) -> Any:
    try:
        return decode(text)
    except Unreadable as error:
        raise CorruptRow(f"a payload {error}") from None


class PayloadCache:
    """The cache of the rows read last: reading value by value unpacks each row once."""

    def __init__(self) -> None:
        """Empty."""
        self._rows: OrderedDict[tuple[str, int], JoinedPayloads] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def value(self, run: str, n: int, at: int, read: Callable[[], bytes | None]) -> Any:
        """The value at `[n, at]`, or MISSING; `read` gives the row when it is not here."""
        with self._lock:
            row = self._rows.get((run, n))
        if row is None:
            text = read()
            if text is None:
                return MISSING
            row = split(text)
            self._keep((run, n), row)
        return row.value(at)

    def _keep(self, key: tuple[str, int], row: JoinedPayloads) -> None:
        if len(row) > _KEEP // 4:
            return
        with self._lock:
            if key not in self._rows:
                self._rows[key] = row
                self._bytes += len(row)
            while self._bytes > _KEEP:
                self._bytes -= len(self._rows.popitem(last=False)[1])

    def forget(self, run: str) -> None:
        """The run was deleted."""
        with self._lock:
            for key in [key for key in self._rows if key[0] == run]:
                self._bytes -= len(self._rows.pop(key))
