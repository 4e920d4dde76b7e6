"""Stop sequences for APIs that have none: the text is cut on this side, streamed or whole."""

from __future__ import annotations

from collections.abc import Sequence


class StopCutter:
    """A filter that passes text on until the first of `stops`, and holds back what could be the beginning of one.

    The model goes on behind the stop, and its tokens are paid for: the answer is read to its end for its usage.
    `hit` is True once a stop was found.
    """

    __slots__ = ("_pending", "_stops", "hit")

    def __init__(self, stops: Sequence[str]) -> None:
        """`stops` are texts; empty ones are ignored."""
        self._stops = [stop for stop in stops if stop]
        self._pending = ""
        self.hit = False

    def feed(self, piece: str) -> str:
        """Take a further piece; the text that can be shown by now and was not shown yet."""
        if self.hit or not piece:
            return ""
        text = self._pending + piece
        positions = [at for at in map(text.find, self._stops) if at >= 0]
        if positions:
            self.hit, self._pending = True, ""
            return text[: min(positions)]
        overlap = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._pending = text[len(text) - overlap :]
        return text[: len(text) - overlap]

    def flush(self) -> str:
        """The text that is still buffered when the answer ends."""
        pending, self._pending = self._pending, ""
        return pending


def _overlap(text: str, stop: str) -> int:
    """The number of characters at the end of `text` that begin `stop`."""
    for size in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
