"""The shared runs of a hub beside one's own, where a hub is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from po_jupyter.cli import base
from po_jupyter.client.http.moves import VisibleRun
from po_jupyter.errors import InvalidInput, PoError, Unavailable
from po_jupyter.model.run.view import RunView
from po_jupyter.presentation.terminal_text import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE = 5.0  # s: one's own runs are shown all the same


def visible_runs(states: Sequence[str] = (), limit: int = 50) -> list[VisibleRun]:
    """My shared runs and those of my groups, the newest first; none where no service is known, or it does not answer,
    which is said on stderr."""
    from po_jupyter.client.client import Client
    from po_jupyter.client.discovery import shared_endpoint

    if base.is_on_shared():
        return []  # they are the ones that are listed
    try:
        client = Client(shared_endpoint())
    except (Unavailable, InvalidInput):
        return []
    try:
        return client.call(client.aio.moves.visible(states=states, limit=limit), _PATIENCE)
    except (PoError, TimeoutError) as error:
        reason = error.message if isinstance(error, PoError) else "it takes too long"
        base.print_line(f"shared runs are not shown: {plain(reason)}", err=True)
        return []
    finally:
        client.close()


def place_of(view: RunView) -> str:
    """Whose a shared run is, and who did what with it last: `red · resumed by bob`."""
    owner = view.owner.removeprefix("group:")
    last = max(view.acts, key=lambda act: str(act.get("at")), default=None)
    did = f" · {last['act']} by {last['by']}" if last is not None and last.get("by") != view.owner else ""
    return plain(f"shared · {owner}{did}")
