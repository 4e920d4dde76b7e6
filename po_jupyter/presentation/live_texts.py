"""Live texts: the answers that models are writing now, and which of them a view shows. Pure: the time comes in."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import TypeAlias

_Key: TypeAlias = tuple[str, int | None]
_KEPT = 2000  # characters of each text; the view shows fewer
_SHOWN = 400  # characters that are shown: about four lines of a cell
_MOST = 64  # texts at the same time
_QUIET = 1.0  # seconds without a word after which another text may be shown


@dataclass(frozen=True, slots=True)
class ShownText:
    """A text that a model is writing now: of which task, of which row (from 0) or None."""

    task: str
    item: int | None
    text: str

    @property
    def label(self) -> str:
        """`row 413`, or the task's name."""
        return self.task if self.item is None else f"row {self.item}"

    @property
    def tail(self) -> str:
        """The newest part of the text."""
        text = self.text.strip()
        if len(text) <= _SHOWN:
            return text
        return "…" + text[-_SHOWN:].lstrip()


class LiveTexts:
    """Collects deltas; `current()` stays with one text while it grows, so that a person can read it.

    `now` is any monotonic clock in seconds.
    """

    def __init__(self) -> None:
        """Without any text."""
        self._texts: dict[_Key, tuple[int, str, float]] = {}  # round, text, time of the last delta
        self._current: _Key | None = None

    def add(self, task: str, item: int | None, text: str, round: int, now: float) -> None:
        """Add a delta. A new round begins a new text."""
        key = (task, item)
        last_round, before, _ = self._texts.pop(key, (round, "", now))
        if last_round != round:
            before = ""
        self._texts[key] = (round, (before + text)[-_KEPT:], now)
        if self._current not in self._texts:
            self._current = key
        if len(self._texts) > _MOST:
            oldest = next(iter(self._texts))  # `pop` above keeps the order by the last delta
            del self._texts[oldest]

    def keep_tasks(self, tasks: Container[str]) -> None:
        """Forget the texts of all other tasks: those have ended."""
        for key in [k for k in self._texts if k[0] not in tasks]:
            del self._texts[key]

    def current(self, now: float) -> ShownText | None:
        """The text to show, or None when no model is writing."""
        if not self._texts:
            return None
        current = self._current
        if current is None or current not in self._texts or now - self._texts[current][2] > _QUIET:
            current = self._current = next(reversed(self._texts))
        return ShownText(current[0], current[1], self._texts[current][1])
