"""Bodies within bounds; those of requests are in the attack table (`tests.hub.test_attacks`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from po_jupyter.hub.problems import GatewayProblem
from po_jupyter.hub.wires import bodies


def answer(status: int, *pieces: bytes, error: Exception | None = None) -> Any:
    async def iter_any() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        if error is not None:
            raise error

    return SimpleNamespace(status=status, content=SimpleNamespace(iter_any=iter_any))


async def test_an_answer_is_read_whole_and_an_errors_beginning() -> None:
    assert await bodies.read_answer(answer(200, b"a", b"b")) == b"ab"
    assert await bodies.read_answer(answer(200)) == b""
    assert len(await bodies.read_answer(answer(500, *[b"x" * 50_000] * 3))) == bodies.MAX_ERROR


async def test_an_answer_that_is_too_large_or_breaks_off_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_ANSWER", 10)
    for bad in (
        answer(200, b"x" * 11),
        answer(200, b"x", error=aiohttp.ClientPayloadError()),
        answer(200, error=TimeoutError()),
    ):
        with pytest.raises(GatewayProblem) as refused:
            await bodies.read_answer(bad)
        assert refused.value.code == "answer_lost"
