"""Which of the texts that models are writing now is shown. Pure: the time (any monotonic seconds) comes in."""

from __future__ import annotations

from collections.abc import Container
from typing import TypeAlias

from po_jupyter.kernel.run_view import Speech

_Key: TypeAlias = tuple[str, int | None]
_KEPT = 2000  # characters of each text; the view shows fewer
_MOST = 64  # texts at the same time
_QUIET = 1.0  # seconds without a word after which another voice may be heard


class Voices:
    """Collects deltas; `speech()` stays with one voice while it goes on, so that the view can be read."""

    def __init__(self) -> None:
        self._texts: dict[_Key, tuple[int, str, float]] = {}  # round, text, when
        self._current: _Key | None = None

    def hear(self, task: str, item: int | None, text: str, round: int, now: float) -> None:
        """One delta. A new round begins a new text."""
        key = (task, item)
        known_round, known, _ = self._texts.pop(key, (round, "", now))
        if known_round != round:
            known = ""
        self._texts[key] = (round, (known + text)[-_KEPT:], now)
        if self._current not in self._texts:
            self._current = key
        if len(self._texts) > _MOST:
            oldest = next(iter(self._texts))  # `pop` above keeps the order by the last word
            del self._texts[oldest]

    def only(self, tasks: Container[str]) -> None:
        """Forget the voices of all other tasks: those have ended."""
        for key in [k for k in self._texts if k[0] not in tasks]:
            del self._texts[key]

    def speech(self, now: float) -> Speech | None:
        """The voice to show, or None when all are silent."""
        if not self._texts:
            return None
        current = self._current
        if current is None or current not in self._texts or now - self._texts[current][2] > _QUIET:
            current = self._current = next(reversed(self._texts))
        return Speech(current[0], current[1], self._texts[current][1])
