"""The part of an orchestrator that keeps what people said of rows, and the bodies and queries of its routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from po_jupyter.server.routing.shapes import Cursor, EmptyBody, Name, Query

JsonMapping = Mapping[str, object]


class ReviewBody(EmptyBody):
    """What you say of a row's answer: it is right (`agree`), or `output` would be (`correct`). `answer` is the digest
    of the answer that you saw (409 when it is another one by now), `request` of your making: the same is recorded
    once."""

    task: Name
    index: Annotated[int, Field(ge=0, lt=2**31, strict=True)]
    decision: Literal["agree", "correct"]
    output: Any = None
    note: Annotated[str, Field(max_length=10_000)] = ""
    answer: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    request: Annotated[str, Field(min_length=1, max_length=100)] | None = None


class ReviewsQuery(Query):
    """The map, and a page of what was said of its rows."""

    task: Name
    cursor: Cursor = None
    limit: Annotated[int, Field(ge=1, le=5000)] = 1000


class ReviewsApi(Protocol):
    """What people said of rows."""

    async def record(
        self,
        run_id: str,
        owner: str | None,
        task: str,
        index: int,
        *,
        decision: Literal["agree", "correct"],
        output: object = None,
        note: str = "",
        answer: str | None = None,
        request: str | None = None,
    ) -> tuple[JsonMapping, bool]:
        """Record what the caller says of a row's answer: (the review, was it new). InvalidInput, NotFound, Conflict."""
        ...

    async def page(
        self, run_id: str, owner: str | None, task: str, *, cursor: str | None = None, limit: int = 1000
    ) -> tuple[Sequence[JsonMapping], str | None]:
        """Reviews of a map's rows in row order, and the cursor of the next page. NotFound, InvalidInput."""
        ...
