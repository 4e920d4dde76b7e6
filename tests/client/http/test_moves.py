"""Moves over HTTP: asked again until the run is there."""

from __future__ import annotations

from typing import Any

from po_jupyter.client.http.moves import AsyncMoves

RUN = {"id": "a", "name": "n", "pipeline": "p", "version": "1", "created_at": "", "updated_at": "", "seed": {}}


class Transport:
    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), []

    async def json(self, method: str, path: str, **more: Any) -> Any:
        self.asked.append((method, path, more))
        return self.answers.pop(0)


async def test_a_move_is_asked_for_until_it_is_accepted() -> None:
    moved = {**RUN, "state": "moved", "moved": {"to": "shared", "accepted": True}}
    transport = Transport(
        {"run": {**RUN, "state": "running"}}, {"run": {**moved, "moved": {"accepted": False}}}, {"run": moved}
    )
    view = await AsyncMoves(transport).move("a", "shared", "red")  # type: ignore[arg-type]
    assert view.state == "moved"
    assert len(transport.asked) == 3
    assert transport.asked[0][2]["body"] == {"to": "shared", "group": "red"}


async def test_visible_runs_come_with_what_one_may_do() -> None:
    transport = Transport({"runs": [{**RUN, "state": "done", "may": ["runs:read"]}]})
    (run,) = await AsyncMoves(transport).visible(states=["done"])  # type: ignore[arg-type]
    assert (run.view.id, run.may) == ("a", ("runs:read",))
