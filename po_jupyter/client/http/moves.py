"""Moves of runs over HTTP: to the hub's service of shared runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from po_jupyter.client.http.transport import Transport, params_of, path_segment
from po_jupyter.model.run.view import RunView


class VisibleRun(NamedTuple):
    """A run, and the scopes that one has there."""

    view: RunView
    may: tuple[str, ...]


class AsyncMoves:
    """The route that moves a run; `AsyncClient.moves`."""

    def __init__(self, transport: Transport) -> None:
        """Asks nothing yet."""
        self._transport = transport

    async def visible(self, *, states: Sequence[str] = (), limit: int = 50) -> list[VisibleRun]:
        """My runs and those of my groups, the newest first, each with the scopes that I have there."""
        params = params_of(state=",".join(states) or None, limit=limit)
        data = await self._transport.json("GET", "runs/visible", params=params)
        return [VisibleRun(RunView.model_validate(run), tuple(run.get("may", ()))) for run in data["runs"]]

    async def move(self, run_id: str, to: str, group: str = "") -> RunView:
        """Move a run, and return once it is there: asked again as often as that takes. Conflict, Forbidden,
        InvalidInput before anything was moved, Unavailable."""
        path, body = f"runs/{path_segment(run_id)}/move", {"to": to, **({"group": group} if group else {})}
        while True:
            data = await self._transport.json("POST", path, body=body, safe=True)
            view = RunView.model_validate(data["run"])
            if view.moved is not None and view.moved.get("accepted"):
                return view
