"""A worker has its node put and fetch files, waits visibly while the place is away, and asks again."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.errors import InvalidInput, Unavailable
from po_jupyter.ipc.channel import LIMIT
from po_jupyter.ipc.messages import ResourceRequest, ResourceResponse
from po_jupyter.worker.file_share import NodeFileShare

HASH = "a" * 64


class Link:
    """Answers in turn; notes what was asked, what was waited for and how long."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.waits: list[str] = []
        self.slept: list[float] = []
        self.share = NodeFileShare(self.ask, self.waits.append, self.sleep)

    async def ask(self, what: str, about: dict[str, Any]) -> ResourceResponse:
        self.asked.append((what, about))
        answer = self.answers.pop(0) if self.answers else ResourceResponse(1, problems={})
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > 20:
            raise Drained


async def test_many_files_go_in_messages_that_fit() -> None:
    link = Link()
    files = [(f"artifacts/t/1-1/{'x' * 180}{n}", 1, HASH) for n in range(1201)]
    await link.share.keep(files)
    assert [len(about["files"]) for _, about in link.asked] == [500, 500, 201]
    for _, about in link.asked:
        line = ResourceRequest(1, "keep_files", about=about).encode("r" * 22)
        assert len(line) < LIMIT
    assert [file for _, about in link.asked for file in about["files"]] == [list(file) for file in files]
    await link.share.keep([])
    assert len(link.asked) == 3


async def test_rows_are_asked_for_once_and_the_problems_of_all_are_told() -> None:
    link = Link(ResourceResponse(1, problems={"a": "gone"}), ResourceResponse(2, problems={"b": "changed"}))
    files = [(f"{n}", 1, HASH) for n in range(600)]
    assert await link.share.fetch(files, [HASH]) == {"a": "gone", "b": "changed"}
    assert [about.get("rows") for _, about in link.asked] == [[HASH], None]
    assert await link.share.fetch([], [HASH]) == {}
    assert link.asked[-1] == ("fetch_files", {"files": [], "rows": [HASH]})


async def test_while_the_place_is_away_it_waits_longer_and_longer_and_says_for_what() -> None:
    link = Link(*[Unavailable("s3://b cannot be used: it does not answer")] * 7)
    await link.share.keep([("a", 1, HASH)])
    assert link.waits == ["s3://b cannot be used: it does not answer"] * 7
    assert link.slept == [1, 2, 4, 8, 16, 30, 30]
    assert len(link.asked) == 8


@pytest.mark.parametrize("error", [InvalidInput("changed"), Drained()])
async def test_what_does_not_pass_is_not_waited_for(error: BaseException) -> None:
    link = Link(error)
    with pytest.raises(type(error)):
        await link.share.keep([("a", 1, HASH)])
    assert link.slept == []


async def test_a_drain_ends_the_wait() -> None:
    link = Link(*[Unavailable("away")] * 100)
    with pytest.raises(Drained):
        await link.share.keep([("a", 1, HASH)])
