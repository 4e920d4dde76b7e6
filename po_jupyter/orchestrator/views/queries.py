"""Queries: finding runs, and showing how each of them stands."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Protocol

from po_jupyter.engine.state.run_state import run_view_of
from po_jupyter.errors import Conflict, CorruptRow, NotFound
from po_jupyter.model.run.events import EventRecord
from po_jupyter.model.run.view import RunView
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.dead_letters import DeadLetter, letter, unreadable_letter
from po_jupyter.orchestrator.views.head_pages import HeadFilter, every_head, page_with_wholes, wholes_that_wait
from po_jupyter.orchestrator.views.projections import RunProjections, unreadable_view
from po_jupyter.orchestrator.views.snapshots import FoldedRun
from po_jupyter.store.protocol import Head, Store

_ID = re.compile(r"[0-9a-f]{22}")
_NEWEST = 1000  # runs among which a suffix of an id is looked for
_MOST_RUNS = 1000  # of one page
_RECENT = 500  # runs that are looked through while somebody types
_MOST_LETTERS = 200  # of one page
_MOST_ATTENTION = 100
_NEEDS_PERSON = ("waiting", "failed", "dead")
_DAMAGED = "Something else wrote into the store. Restore it from a copy, or delete that run."


class WaitingRuns(Protocol):
    """The part of a dispatcher that tells what runs wait for, which no log says. Called from any thread."""

    def position(self, run: str) -> int | None:
        """The place of a queued run, 1 is next."""

    def waiting_reason(self, run: str) -> str | None:
        """The reason why the run waits for the store."""


class RunQueries:
    """Answers questions about runs. `owner` None sees everybody's; somebody else's run is NotFound."""

    def __init__(
        self, store: Store, projections: RunProjections, waiting: WaitingRuns, to_thread: ToThread
    ) -> None:
        """Reads `store` in threads."""
        self._store = store
        self._projections = projections
        self._waiting = waiting
        self._to_thread = to_thread

    async def find(self, run_id: str, owner: str | None) -> Head:
        """The head of a run by its id, or by a unique suffix of at least 4 characters among the newest 1,000 runs.

        NotFound also for somebody else's run; Conflict when several runs end so.
        """
        return await self._to_thread(self._find, run_id, owner)

    def head(self, run: str) -> Head:
        """The head of a run by its whole id. NotFound. Blocks."""
        return self._store.head(run)

    async def find_readable(self, run_id: str, owner: str | None) -> Head:
        """As `find`, for whoever shows what is in the run: CorruptRow for a head that cannot be read. One that names
        no owner any more is NotFound for all but those who see everybody's."""
        head = await self.find(run_id, owner)
        if "damage" in head:
            if owner is not None and not head["owner"]:
                raise _no_run(run_id)
            raise CorruptRow(head["damage"], hint=_DAMAGED)
        return head

    def _find(self, run_id: str, owner: str | None) -> Head:
        missing = _no_run(run_id)
        if _ID.fullmatch(run_id):
            with contextlib.suppress(CorruptRow):  # found as lists find it
                head = self._store.head(run_id)
                if owner is not None and head["owner"] != owner:
                    raise missing
                return head
        if not re.fullmatch(r"[0-9a-f]{4,22}", run_id):
            raise missing
        # Of child runs there are many for each run that lists show.
        matches = self._ending(run_id, owner, children=False) or self._ending(run_id, owner, children=True)
        if len(matches) > 1:
            raise Conflict(f"{len(matches)} runs end with {run_id}", hint="Give more of the id.")
        if not matches:
            raise missing
        return matches[0]

    def _ending(self, suffix: str, owner: str | None, *, children: bool) -> list[Head]:
        matches: list[Head] = []
        cursor, seen = None, 0
        while seen < _NEWEST:
            page = self._store.runs(owner=owner, cursor=cursor, limit=200, children=children)
            matches += [h for h in page.heads if h["run"].endswith(suffix)]
            seen += len(page.heads)
            cursor = page.next
            if cursor is None:
                break
        return matches

    async def get(self, run_id: str, owner: str | None, *, whole_seed: bool = True) -> RunView:
        """The run. With `whole_seed` false a seed of more than 32 KB comes without its data, as in lists."""
        return await self.view(await self.find(run_id, owner), whole_seed=whole_seed)

    async def view(self, head: Head, *, whole_seed: bool = True) -> RunView:
        """The run of a head that was read just now. CorruptRow when it cannot be read."""
        run = head["run"]
        if "damage" in head:
            raise CorruptRow(head["damage"], hint=_DAMAGED)
        position, waiting = self._waiting.position(run), self._waiting.waiting_reason(run)
        known = self._projections.known_view(head, position=position, waiting=waiting, whole_seed=whole_seed)
        if known is not None:
            return known
        return await self._to_thread(
            self._projections.view, head, position=position, waiting=waiting, whole_seed=whole_seed
        )

    async def newest_view(self, run: str) -> RunView:
        """The run by its whole id, as it is now. NotFound."""
        return await self.view(await self._to_thread(self._store.head, run))

    async def recent(self, pipeline: str, owner: str | None) -> RunView | None:
        """The newest run of a pipeline, without a large seed, if it is among the newest 500 of the store: where there
        is none, not every head is read for it."""

        def read() -> RunView | None:
            heads = self._store.runs(limit=_RECENT).heads
            of_theirs = (head for head in heads if owner is None or head["owner"] == owner)
            head = next((head for head in of_theirs if head["pipeline"] == pipeline), None)
            views = [] if head is None else self._views([head])
            return views[0] if views else None

        return await self._to_thread(read)

    async def page(
        self,
        owner: str | None,
        states: Sequence[str] = (),
        pipeline: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        *,
        q: str = "",
        since: str = "",
        until: str = "",
        children: bool = False,
    ) -> tuple[list[RunView], str | None]:
        """A page of runs, newest first, and the cursor of the next one. One that cannot be read says so as its
        error.

        `q`: a part of the id, or of the name of the pipeline or the run, whatever the case. `since` and `until`: made
        then or later, and before, as ISO 8601 in UTC. With `children` also runs that are a part of another one. In the
        state `waiting` are also those at work of which a part waits for a person.
        """

        def read() -> tuple[list[RunView], str | None]:
            most = max(1, min(limit, _MOST_RUNS))
            wanted = HeadFilter(q, since, until)
            page = page_with_wholes(
                self._store, wanted, most, owner=owner, states=states, pipeline=pipeline, cursor=cursor,
                children=children,
            )  # fmt: skip
            return self._views(page.heads), page.next

        return await self._to_thread(read)

    def _views(self, heads: Sequence[Head]) -> list[RunView]:
        """Views of runs; those that were deleted since are left out, and one that cannot be read says so."""
        folded = self._projections.fold_all([head for head in heads if "damage" not in head])
        views = []
        for head in heads:
            run = head["run"]
            now = CorruptRow(head["damage"], hint=_DAMAGED) if "damage" in head else folded[run]
            if isinstance(now, CorruptRow):
                views.append(unreadable_view(head, now))
            elif isinstance(now, FoldedRun):
                position, reason = self._waiting.position(run), self._waiting.waiting_reason(run)
                views.append(run_view_of(now.state, now.seed, position=position, waiting=reason))
        return views

    async def attention(self, owner: str | None) -> tuple[list[RunView], int]:
        """Runs that need a person, newest first, at most 100, and how many there are: those that wait at a gate (their
        own, or one of a pipeline that a task runs) or for the store, have failed, or are dead, whatever their age."""

        def read() -> tuple[list[RunView], int]:
            heads = list(every_head(self._store, owner=owner, states=_NEEDS_PERSON))
            heads += wholes_that_wait(self._store, owner)
            heads += [
                head
                for head in self._store.active()
                if owner in (None, head["owner"])
                and "parent" not in head
                and self._waiting.waiting_reason(head["run"]) is not None
            ]
            newest = sorted({head["run"]: head for head in heads}.values(), key=lambda head: head["run"])[::-1]
            return self._views(newest[:_MOST_ATTENTION]), len(newest)

        return await self._to_thread(read)

    async def events(
        self, run_id: str, owner: str | None, since: int = 0, limit: int = 1000
    ) -> list[EventRecord]:
        """Events after offset `since`."""
        head = await self.find_readable(run_id, owner)
        return await self._to_thread(self._store.events, head["run"], since=since, limit=limit)

    async def dead_letters(
        self, owner: str | None, cursor: str | None = None, limit: int = 50
    ) -> tuple[list[DeadLetter], str | None]:
        """Runs that exhausted their attempts, newest first, each with its context; and the cursor of the next page."""

        def read() -> tuple[list[DeadLetter], str | None]:
            most = max(1, min(limit, _MOST_LETTERS))
            page = self._store.runs(owner=owner, states=("dead",), cursor=cursor, limit=most)
            letters = []
            for head in page.heads:
                with contextlib.suppress(NotFound):  # deleted since
                    try:
                        pipeline = self._projections.pipeline(head["run"])
                        letters.append(letter(self._projections.state(head), pipeline))
                    except CorruptRow as error:
                        letters.append(unreadable_letter(head, error))
            return letters, page.next

        return await self._to_thread(read)


def _no_run(run_id: str) -> NotFound:
    return NotFound(f"there is no run {run_id!r:.60}", hint="`po runs` lists yours.")
