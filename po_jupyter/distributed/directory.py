"""The directory of nodes: who shares the store, as their documents say, and which of them are gone.

A node is a server of a shared store. Its document ("node", NAME) is its lease: renewed three times in `node_ttl`, with
what it has and does. A node is gone when its counter stood still for that long on the clock of who looks: no two
machines' clocks are ever compared.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from po_jupyter.store.protocol import DocumentStore

KIND = "node"
DRAIN = "drain"  # kind of the documents that ask a node to give its runs to others
LOOKS = 10  # in a term


class Node(NamedTuple):
    """A node as it said last.

    slots    the workers that it may have at once, 0 for one that only serves
    rates    the token of its share of the rate limits, "" for none
    silent   for how many seconds nobody here saw it renew
    """

    name: str
    host: str
    pid: int
    since: str
    version: str
    slots: int
    running: int
    labels: tuple[str, ...]
    draining: bool
    rates: str
    silent: float

    @property
    def works(self) -> bool:
        """It takes runs."""
        return self.slots > 0 and not self.draining


class _Seen(NamedTuple):
    mark: object  # what changes with each renewal
    unchanged: float  # s


class NodeDirectory:
    """What one node knows of all of them. `look` is called `LOOKS` times in a term; safe to read from any thread."""

    def __init__(self, store: DocumentStore, ttl: float) -> None:
        """Knows nobody before the first look."""
        self._store = store
        self._ttl = ttl
        self._documents: Mapping[str, Mapping[str, Any]] = {}
        self._seen: dict[str, _Seen] = {}
        self._looked = time.monotonic()

    def look(self) -> None:
        """Read the documents. Blocks. Raises StoreError."""
        documents: dict[str, Mapping[str, Any]] = {}
        for name in self._store.names(KIND):
            document = self._store.get(KIND, name)
            if document is not None:
                documents[name] = document
        moment = time.monotonic()
        # A look counts for at most twice its share: minutes in which this process stood still are nobody's silence.
        elapsed, self._looked = min(moment - self._looked, 2 * self._ttl / LOOKS), moment
        seen = {}
        for name in documents.keys() | self._seen.keys():
            document = documents.get(name)
            mark = None if document is None else (document.get("holder"), document.get("count"))
            before = self._seen.get(name)
            unchanged = before.unchanged + elapsed if before is not None and before.mark == mark else 0.0
            if document is not None or unchanged <= 4 * self._ttl:
                seen[name] = _Seen(mark, unchanged)
        self._documents, self._seen = documents, seen

    def nodes(self) -> list[Node]:
        """The nodes that are not gone, by name."""
        return [
            Node(
                name,
                str(document.get("host", "")),
                int(document.get("pid", 0)),
                str(document.get("since", "")),
                str(document.get("version", "")),
                int(document.get("slots", 0)),
                int(document.get("running", 0)),
                tuple(document.get("labels", ())),
                bool(document.get("draining")),
                str(document.get("rates", "")),
                round(self._seen[name].unchanged, 1),
            )
            for name, document in sorted(self._documents.items())
            if not self.is_gone(name)
        ]

    def names(self) -> list[str]:
        """The nodes that have a document, gone or not."""
        return sorted(self._documents)

    def workers(self) -> int:
        """How many nodes take runs."""
        return sum(node.works for node in self.nodes())

    def labels(self) -> list[frozenset[str]]:
        """The labels of each node that takes runs."""
        return [frozenset(node.labels) for node in self.nodes() if node.works]

    def is_gone(self, name: str) -> bool:
        """True once the node did not renew for a term; one that has no document is watched from the first question."""
        seen = self._seen.get(name)
        if seen is None:
            self._seen[name] = _Seen(None, 0.0)
            return False
        return seen.unchanged > self._ttl

    def silence(self, name: str) -> float:
        """For how many seconds the document of a node did not change, as of the last look."""
        seen = self._seen.get(name)
        return seen.unchanged if seen is not None else float("inf")

    def forget(self, name: str) -> None:
        """Remove the document of a node that is gone. Blocks. Raises StoreError."""
        document = self._documents.get(name)
        if document is not None:
            self._store.swap(KIND, name, dict(document), None)
