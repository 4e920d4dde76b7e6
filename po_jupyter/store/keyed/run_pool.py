"""The runs that wait for a worker and those that somebody has, where no index knows them: all active ones are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from po_jupyter.store.protocol import EVERY_KIND, Head, waits_for_worker


class ReadRunPool(ABC):
    """A `RunPoolStore` over the heads of the runs that have not ended."""

    @abstractmethod
    def active(self) -> list[Head]:
        """See `RunStore`."""

    def waiting(self, limit: int, kinds: Collection[bool | None] = EVERY_KIND) -> list[Head]:
        """See `RunPoolStore`: all of them."""
        return [head for head in self.active() if waits_for_worker(head) and head.get("shareable") in kinds]

    def heads(self, runs: Sequence[str]) -> dict[str, Head]:
        """See `RunPoolStore`."""
        return {head["run"]: head for head in self.active() if head["run"] in runs}

    def held(self) -> list[Head]:
        """See `RunPoolStore`."""
        return [head for head in self.active() if head["holder"] is not None]

    def count_waiting(self) -> int:
        """See `RunPoolStore`."""
        return len(self.waiting(0))
