"""The first look at an owner's day: a limit that is set in its middle counts what runs spent before there was one.

A run that works under a limit is in the ledger by its share. What others used that day is read where it is recorded: in
the logs of the runs, and in the usage by day for runs that are deleted.
"""

from __future__ import annotations

from contextlib import suppress

from po_jupyter.engine.budgets import daily_ledger as ledger
from po_jupyter.engine.budgets import daily_usage
from po_jupyter.engine.budgets.daily_ledger import LedgerDocument, LedgerEntry
from po_jupyter.engine.replay.spent_from_log import ZERO, Amount, spent_on_day
from po_jupyter.errors import CorruptRow, NotFound
from po_jupyter.model.run.view import ENDED
from po_jupyter.store import documents
from po_jupyter.store.protocol import Head, Store


def open_ledger(store: Store, owner: str, day: str) -> LedgerDocument | None:
    """The ledger of a day, begun with what was spent on that day if there is none yet. Blocks. Raises Conflict.

    A run that goes on has an entry of its own: its worker may be one that knows of no limit, and spends more.
    """
    begun: LedgerDocument | None = None

    def change(document: LedgerDocument | None) -> LedgerDocument | None:
        nonlocal begun
        if document is None:
            begun = begun if begun is not None else _begin(store, owner, day)
            return begun
        for run in ledger.without_share(document):
            document = _brought_up_to_date(document, store, run, day)
        return document

    opened: LedgerDocument | None = documents.update(store, ledger.KIND, ledger.name_of(owner, day), change)
    return opened


def _begin(store: Store, owner: str, day: str) -> LedgerDocument | None:
    heads = _heads(store, owner)
    total, going = _deleted(store, owner, day, heads), dict[str, Amount]()
    for run, head in heads.items():
        if head["updated_at"][:10] < day:
            continue
        with suppress(NotFound, CorruptRow):
            spent = spent_on_day(store, run, day)
            if head["state"] in ENDED:
                total = total.plus(spent)
            elif spent != ZERO:
                going[run] = spent
    if total == ZERO and not going:
        return None
    document: LedgerDocument = {"ended": total.to_json(), "runs": {}}
    for run, spent in going.items():
        document = ledger.with_entry(document, run, LedgerEntry(spent))
    return document


def _brought_up_to_date(document: LedgerDocument, store: Store, run: str, day: str) -> LedgerDocument:
    entry = ledger.entry_of(document, run)
    with suppress(NotFound, CorruptRow):
        if entry is not None and (used := spent_on_day(store, run, day).minus(entry.base)) != entry.used:
            return ledger.with_entry(document, run, entry._replace(used=used))
    return document


def _heads(store: Store, owner: str) -> dict[str, Head]:
    heads: dict[str, Head] = {}
    cursor: str | None = None
    while True:
        page = store.runs(owner=owner, cursor=cursor, limit=200, children=True)
        heads |= {head["run"]: head for head in page.heads}
        if (cursor := page.next) is None:
            return heads


def _deleted(store: Store, owner: str, day: str, heads: dict[str, Head]) -> Amount:
    """The amount of runs that are no more: their usage was counted before they were deleted."""
    document: daily_usage.UsageDocument | None = store.get(daily_usage.KIND, daily_usage.name_of(owner))
    if document is None:
        return ZERO
    days = daily_usage.DailySums()
    daily_usage.add_days(days, document["days"])
    for run, entry in document["runs"].items():
        if run not in heads:
            daily_usage.add_days(days, daily_usage.settled(entry, None))
    total = ZERO
    for counts in days.get(day, {}).values():
        tokens = counts.get("input_tokens", 0) + counts.get("output_tokens", 0)
        total = total.plus(Amount(float(counts.get("cost", 0.0)), int(tokens)))
    return total
