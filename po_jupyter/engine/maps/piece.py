"""A piece of a child run's log, as the log of its map takes it over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from po_jupyter.engine.replay.spent_from_log import Amount
    from po_jupyter.model.run.events import EventDraft
    from po_jupyter.store.protocol import CallDraft, ItemDraft


class Piece(NamedTuple):
    """Records of a child run up to `n`: what they say of its rows, with the payloads that this points at.

    `used` is what its calls used more than before; `in_flight` are its rows at work, None where nothing says so.
    """

    n: int
    items: tuple[ItemDraft, ...]
    calls: tuple[CallDraft, ...]
    payloads: tuple[Any, ...]
    events: tuple[EventDraft, ...]
    used: Amount
    in_flight: int | None
