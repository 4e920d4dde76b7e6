"""The blocking connection without a server: its loop, its iterators, its end."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncGenerator

import pytest

from po_jupyter.client.async_client import Endpoint
from po_jupyter.client.blocking import Blocking
from po_jupyter.errors import NotFound
from po_jupyter.errors.tracebacks import VARIABLE


@pytest.fixture
def blocking() -> Blocking:
    return Blocking(Endpoint("http://127.0.0.1:9/", "t"))


async def numbers(ended: list[str]) -> AsyncGenerator[int, None]:
    try:
        for n in range(3):
            await asyncio.sleep(0)
            yield n
    finally:
        ended.append("closed")


def test_one_async_client_is_used_until_it_is_closed(blocking: Blocking) -> None:
    first = blocking.aio
    assert blocking.aio is first
    assert blocking.url == "http://127.0.0.1:9/"
    blocking.close()
    assert blocking.aio is not first
    blocking.close()
    blocking.close()


def test_an_async_iterator_becomes_a_plain_one_and_is_closed(blocking: Blocking) -> None:
    ended: list[str] = []
    assert list(blocking.iterate(numbers(ended))) == [0, 1, 2]
    assert ended == ["closed"]
    values = blocking.iterate(numbers(ended))
    assert next(values) == 0
    values.close()
    assert ended == ["closed", "closed"]


def test_a_call_raises_what_the_coroutine_raised(blocking: Blocking) -> None:
    async def fails() -> int:
        raise LookupError("nothing")

    with pytest.raises(LookupError, match="nothing"):
        blocking.call(fails())
    with pytest.raises(TimeoutError):
        blocking.call(asyncio.sleep(10), 0.01)


def test_a_script_sees_who_called_and_not_the_loop_that_waited(
    blocking: Blocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails() -> int:
        raise NotFound("there is no run x")

    def frames() -> list[str]:
        with pytest.raises(NotFound) as caught:
            blocking.call(fails())
        return [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    assert frames() in (["frames"], ["frames", "call"])
    monkeypatch.setenv(VARIABLE, "1")
    assert "fails" in frames()
