"""Lists of runs over several shards: cursors, and the heads of all shards in one order."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeAlias

from po_jupyter.errors import InvalidInput
from po_jupyter.store.keyed.shard import Shard
from po_jupyter.store.protocol import Head

CHUNK = 64  # records, or heads, read per visit to a shard
_CURSOR = re.compile(r"before:([0-9a-z][0-9a-z_-]{0,63})")

HeadChunk: TypeAlias = "tuple[list[Head], str | None]"
"""Heads, newest first, and the id to go on from (None: that was all)."""

# (shard, than, limit): a chunk of the heads below `than`
OlderHeads: TypeAlias = "Callable[[Shard, str | None, int], HeadChunk]"
# (number, work): `work` on the rows of that shard
ReadShard: TypeAlias = "Callable[[int, Callable[[Shard], HeadChunk]], HeadChunk]"


class WantedRuns(NamedTuple):
    """The runs that a list has: of this owner, pipeline and any of these states; None and () are all. Those that are
    part of another run only with `children`."""

    owner: str | None = None
    states: frozenset[str] = frozenset()
    pipeline: str | None = None
    children: bool = False

    @property
    def filters(self) -> bool:
        """Whether it has not all whole runs."""
        return self.owner is not None or bool(self.states) or self.pipeline is not None

    def has(self, head: Head) -> bool:
        """Whether a run is among them. One that cannot be read is everybody's."""
        return (
            (self.owner is None or head["owner"] == self.owner or ("damage" in head and not head["owner"]))
            and (not self.states or head["state"] in self.states)
            and (self.pipeline is None or head["pipeline"] == self.pipeline)
            and (self.children or "parent" not in head)
        )


def before_of(cursor: str | None) -> str | None:
    """The id that a page ends before. Raises InvalidInput for a cursor that is none."""
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidInput(f"{cursor!r:.80} is not a cursor", hint="Pass the `next` of the page before.")
    return match[1]


def merged(read: ReadShard, shards: int, before: str | None, limit: int, older: OlderHeads) -> Iterator[Head]:
    """The heads of all shards below `before`, newest first; probably no more than `limit` are wanted."""

    def walk(number: int) -> Iterator[Head]:
        below, size = before, max(4, limit // shards + 2)
        while True:
            heads, last = read(number, partial(_read, older, below, size))
            yield from heads
            if last is None:
                return
            below, size = last, CHUNK

    yield from heapq.merge(*map(walk, range(shards)), key=lambda head: head["run"], reverse=True)


def _read(older: OlderHeads, than: str | None, limit: int, shard: Shard) -> HeadChunk:
    return older(shard, than, limit)
