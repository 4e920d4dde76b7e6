"""What came while the process stood still is not late."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from po_jupyter.llm.wire.http import Http, Target
from po_jupyter.platform import pauses
from po_jupyter.testing.model_server import ModelServer

LIMIT = 2.0


@pytest.fixture
def noticed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pauses, "_clock", pauses._PauseClock())
    before = signal.getsignal(signal.SIGCONT)
    yield
    signal.signal(signal.SIGCONT, before)


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells nobody of a pause")
@pytest.mark.usefixtures("noticed")
async def test_an_answer_that_came_while_the_process_stood_still_is_no_timeout() -> None:
    """Its request would be sent, and paid for, again."""
    pauses.notice_pauses(asyncio.get_running_loop())
    http = Http()
    with ModelServer("here", latency=0.3) as server:
        target = Target(f"{server.base_url}/chat/completions", key=server.key, name="x")
        call = asyncio.create_task(http.post(target, b'{"messages": []}', seconds=LIMIT))
        await asyncio.to_thread(server.wait_for, 1)
        # As after SIGSTOP: nothing of this process's loop runs, the time goes on, SIGCONT ends it.
        time.sleep(LIMIT + 0.1)  # noqa: ASYNC251 - the loop is to stand still
        signal.raise_signal(signal.SIGCONT)
        assert (await call).status == 200
        assert len(server.requests) == 1
    await http.aclose()


@pytest.mark.integration
async def test_a_timeout_ends_what_takes_too_long() -> None:
    with pytest.raises(TimeoutError):
        async with pauses.RunningTimeout(0.05) as limit:
            await asyncio.Event().wait()
    assert limit.expired()
