"""Bodies of the routes that move runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from po_jupyter.server.routing.shapes import EmptyBody, Query, States


class VisibleRuns(Query):
    """The newest `limit` runs, in one of the states."""

    state: States = ()
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class MoveBody(EmptyBody):
    """Where the run is worked off from then on; `group` is that of the hub whose run it is there, "" for oneself."""

    to: Literal["shared"]
    group: Annotated[str, Field(max_length=200)] = ""


class HandoverBody(EmptyBody):
    """A run that is about to be handed over: its id, its whole pipeline, the model that it uses for all."""

    run: Annotated[str, Field(min_length=1, max_length=80)]
    pipeline: dict[str, Any]
    model: Annotated[str, Field(max_length=300)] | None = None
