"""Reviews over HTTP: what people say of the answers of rows."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict, cast

from po_jupyter.client.http.transport import Transport, params_of, path_segment


class ReviewJson(TypedDict):
    """What a person said of a row: `decision` is `agree` or `correct`, `output` what is right according to them;
    `recorded` and `ok` the answer of now; `outdated`: it is another one since; `mine`: the caller's own; `disputed`:
    several people say different things of the row."""

    task: str
    index: int
    id: str
    by: str
    at: str
    decision: Literal["agree", "correct"]
    answer: str
    output: Any
    note: str
    ok: bool
    recorded: Any
    outdated: bool
    mine: bool
    disputed: bool
    row: NotRequired[int]


class AsyncReviews:
    """The routes of reviews; `AsyncClient.inspection.reviews`. Each raises NotFound."""

    def __init__(self, transport: Transport) -> None:
        """Asks nothing yet."""
        self._transport = transport

    async def add(
        self,
        run_id: str,
        task: str,
        index: int,
        *,
        decision: Literal["agree", "correct"],
        request: str,
        output: object = None,
        note: str = "",
        answer: str | None = None,
    ) -> ReviewJson:
        """Say that the answer of a row is right, or what would be; once, however often the same `request` is sent.
        InvalidInput, Conflict."""
        body: dict[str, object] = {
            "task": task, "index": index, "decision": decision, "note": note, "request": request,
            **params_of(answer=answer),
        }  # fmt: skip
        if decision == "correct":
            body["output"] = output
        path = f"runs/{path_segment(run_id)}/review"
        data = await self._transport.json("POST", path, body=body, safe=True)
        return cast("ReviewJson", data["review"])

    async def page(
        self, run_id: str, task: str, *, cursor: str | None = None, limit: int = 1000
    ) -> tuple[list[ReviewJson], str | None]:
        """A page of what people said of a map's rows, in row order, and the cursor of the next one."""
        params = params_of(task=task, cursor=cursor, limit=str(limit))
        data = await self._transport.json("GET", f"runs/{path_segment(run_id)}/reviews", params=params)
        return cast("list[ReviewJson]", data["reviews"]), data["next"]
