"""Stop sequences for APIs that have none: the text is cut here, streamed or not."""

from __future__ import annotations

from collections.abc import Sequence


class StopCutter:
    """Lets text through until the first of `stops`; what could be the beginning of one is held back.

    The model goes on behind the stop, and its tokens are paid for: the answer is read to its end for its usage.
    """

    __slots__ = ("_held", "_stops", "hit")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.hit = False

    def feed(self, piece: str) -> str:
        """What may be shown of everything that came so far and was not shown yet."""
        if self.hit or not piece:
            return ""
        text = self._held + piece
        found = [at for at in map(text.find, self._stops) if at >= 0]
        if found:
            self.hit, self._held = True, ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> str:
        """What was held back when the answer ended."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    for size in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
