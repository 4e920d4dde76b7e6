"""SIGINT stops a server in order where Jupyter does not handle it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from po_jupyter.server.interrupt import stop_on_interrupt

HUB = {"JUPYTERHUB_SERVICE_PREFIX": "/user/me/"}


class FakeServer:
    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    def stop(self) -> None:
        self.stopped.set()


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


async def interrupted(handler: Any, environ: dict[str, str]) -> bool:
    """Whether an interrupt stops a server that starts with this handler."""
    signal.signal(signal.SIGINT, handler)
    server = FakeServer()
    stop_on_interrupt(server, environ)
    try:
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(0.3):
            await server.stopped.wait()
    except TimeoutError:
        return False
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
    return True


async def test_without_a_terminal_an_interrupt_is_a_stop() -> None:
    assert await interrupted(signal.default_int_handler, {})


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.default_int_handler, lambda *_: None])
async def test_a_hub_stops_its_servers_by_an_interrupt(handler: Callable[..., Any]) -> None:
    assert await interrupted(handler, HUB)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
async def test_jupyters_question_and_an_ignored_interrupt_stay(handler: Callable[..., Any]) -> None:
    assert not await interrupted(handler, {})
