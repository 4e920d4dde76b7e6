"""Moves of runs, as the server calls them; see `api`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from po_jupyter.model.run.view import RunView
    from po_jupyter.model.values.json import JsonObject
    from po_jupyter.server.routing.uploads import UploadApi


class HandoversApi(Protocol):
    """Runs of this server that are worked off elsewhere from then on."""

    async def move(self, run_id: str, owner: str | None, to: str, group: str = "") -> RunView:
        """Move a run; the view says `moved` with `accepted` once it is there, else it is asked for again. Conflict,
        Forbidden, InvalidInput before anything was moved, Unavailable."""
        ...

    async def shared_runs(self, owner: str | None) -> tuple[str, str]:
        """The address of the service of shared runs, and the token for it of the person whose server this is.
        Forbidden for anybody else, Unavailable, InvalidInput."""
        ...


class ReceptionsApi(Protocol):
    """Runs that come from elsewhere."""

    async def check(self, body: JsonObject, owner: str) -> None:
        """Raises what keeps a run `{run, pipeline, model?}` from being taken."""

    async def receive(self, sha256: str, owner: str) -> UploadApi:
        """Begin to receive the file of a run. Forbidden, InvalidInput, StoreUnusable."""
        ...

    async def accept(self, sha256: str, owner: str, *, may_decide: bool = True) -> RunView:
        """Have a run worked off whose file was received; without `may_decide` its gates must be undecided. NotFound,
        Conflict, Forbidden, InvalidInput."""
        ...
