"""One open batch: it is at its provider, or may be. Read from the log after a restart."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from po_jupyter.engine.budgets.batch_hold import BatchHold
from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.model.run.row_spans import parse_spans
from po_jupyter.model.values.json import JsonObject


@dataclass(slots=True, eq=False)
class OpenBatch:
    """A batch that is at its provider, or perhaps is.

    token       the name that we gave it        id        the provider's; None while it is not known to have it
    attempt     of the calls of its rows        rows      in the order of the file
    void      rows that were asked for again after it had given them an outcome; `members`: the others
    prepared    when it was about to be sent, in seconds since 1970
    reserved    the worst case of all its rows  hold      what is set aside for it; None: nothing is limited
    cancelling  its end is wanted, so rows without an answer stay open; `cancel_sent`: the provider has the request
    collected   rows whose result was read      progress  (finished, total), as the provider reported last
    silent      the last poll got no answer
    """

    token: str
    attempt: int
    rows: tuple[int, ...]
    prepared: float
    reserved: Amount
    id: str | None = None
    hold: BatchHold | None = None
    void: frozenset[int] = frozenset()
    cancelling: bool = False
    cancel_sent: bool = False
    collected: int = 0
    silent: bool = False
    progress: tuple[int, int] = (0, 0)
    members: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        """Make the set of the rows that it answers."""
        self.members = frozenset(self.rows) - self.void

    @property
    def reserved_for_row(self) -> Amount:
        """The worst case of one of its rows."""
        return self.reserved.share(1, len(self.rows))


def open_batch_from_log(record: JsonObject, void: frozenset[int] = frozenset()) -> OpenBatch:
    """The batch of a `BatchRecord` in the state of its task; `void` as in `OpenBatch`."""
    return OpenBatch(
        token=record["token"],
        attempt=record["attempt"],
        rows=tuple(parse_spans(record["rows"])),
        prepared=datetime.fromisoformat(record["at"]).timestamp(),
        reserved=Amount(*record.get("reserved") or ()),
        id=record.get("id"),
        void=void,
        cancelling=bool(record.get("cancelling")),
    )
