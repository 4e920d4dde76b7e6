"""Pages of heads by what a store does not filter by: a text, and when a run was made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from po_jupyter.errors import NotFound
from po_jupyter.model.run.view import ENDED
from po_jupyter.store.keyed.listing import before_of
from po_jupyter.store.protocol import Head, HeadPage, RunStore, Store

_AT_ONCE = 500


class HeadFilter(NamedTuple):
    """`q`: a part of the id, or of the name of the pipeline or the run; `since` (inclusive) and `until` (exclusive):
    ISO 8601 in UTC. "" is no condition."""

    q: str = ""
    since: str = ""
    until: str = ""

    def matches(self, head: Head) -> bool:
        """Whether a run is meant."""
        if self.until and head["created_at"] >= self.until:
            return False
        q = self.q.casefold()
        return not q or any(q in head[field].casefold() for field in ("run", "pipeline", "name"))


def filtered_page(
    store: RunStore,
    wanted: HeadFilter,
    limit: int,
    *,
    owner: str | None,
    states: Sequence[str],
    pipeline: str | None,
    cursor: str | None,
    children: bool = False,
) -> HeadPage:
    """A page of the runs that are meant, newest first; with `children` also those that are a part of another one.
    InvalidInput for a cursor that is none."""

    def read(cursor: str | None, size: int) -> HeadPage:
        return store.runs(
            owner=owner, states=states, pipeline=pipeline, cursor=cursor, limit=size, children=children
        )

    if wanted == HeadFilter():
        return read(cursor, limit)
    found: list[Head] = []
    size = limit
    while True:
        page = read(cursor, size)
        for head in page.heads:
            if wanted.since and head["created_at"] and head["created_at"] < wanted.since:
                return HeadPage(found, None)  # ids go by time: all that follow are older
            if wanted.matches(head):
                if len(found) == limit:
                    return HeadPage(found, f"before:{found[-1]['run']}")
                found.append(head)
        cursor, size = page.next, _AT_ONCE
        if cursor is None:
            return HeadPage(found, None)


def page_with_wholes(
    store: Store,
    wanted: HeadFilter,
    limit: int,
    *,
    owner: str | None,
    states: Sequence[str],
    pipeline: str | None,
    cursor: str | None,
    children: bool = False,
) -> HeadPage:
    """As `filtered_page`; who looks for the runs that wait finds also those of which a child run does."""
    page = filtered_page(
        store, wanted, limit, owner=owner, states=states, pipeline=pipeline, cursor=cursor, children=children
    )
    if "waiting" not in states:
        return page
    before, last = before_of(cursor), page.heads[-1]["run"] if page.next is not None else ""
    found = {head["run"]: head for head in page.heads}
    for head in wholes_that_wait(store, owner):
        is_here = (before is None or head["run"] < before) and head["run"] > last  # else on another page
        is_meant = pipeline in (None, head["pipeline"]) and head["created_at"] >= wanted.since
        if is_here and is_meant and wanted.matches(head):
            found.setdefault(head["run"], head)
    heads = [found[run] for run in sorted(found, reverse=True)]
    more = len(heads) > limit or page.next is not None
    heads = heads[:limit]
    return HeadPage(heads, f"before:{heads[-1]['run']}" if more and heads else None)


def wholes_that_wait(store: Store, owner: str | None) -> Iterator[Head]:
    """The heads of the runs at work of which a child run waits for a person. Blocks."""
    for head in store.active():
        if head["state"] == "waiting" and "parent" in head and owner in (None, head["owner"]):
            with suppress(NotFound):
                while (parent := head.get("parent")) is not None:
                    head = store.head(parent)
                if head["state"] not in ENDED:
                    yield head


def every_head(store: RunStore, *, owner: str | None, states: Sequence[str]) -> Iterator[Head]:
    """The heads of all runs of an owner in those states, newest first."""
    cursor: str | None = None
    while True:
        page = store.runs(owner=owner, states=states, cursor=cursor, limit=_AT_ONCE)
        yield from page.heads
        cursor = page.next
        if cursor is None:
            return
