"""Answers passed on piece by piece, and a user who leaves while the vendor is silent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.hub import running

pytestmark = pytest.mark.integration


async def test_a_user_who_leaves_in_a_silence_is_noticed(tmp_path: Path) -> None:
    """The vendor would be listened to for minutes, and the reservation stand."""
    with ModelServer(Reply("one two three", stall=100.0)) as vendor:
        async with running(tmp_path, vendor.root_url) as gateway:
            body = {"model": "gpt-5-mini", "stream": True, "messages": [{"role": "user", "content": "x"}]}
            async with gateway.session.post(
                f"{gateway.url}/openai/v1/chat/completions",
                json=body,
                headers={"Authorization": "Bearer alice-token"},
            ) as response:
                await response.content.readany()
                response.close()
            async with asyncio.timeout(10):
                while gateway.state.balances.in_flight():
                    await asyncio.sleep(0.02)
            assert await gateway.spent() > 0
            async with asyncio.timeout(10):
                while not vendor.requests[0].aborted:
                    await asyncio.sleep(0.02)


async def test_an_answer_in_an_encoding_that_nobody_asked_for_is_read(tmp_path: Path) -> None:
    """Some proxies compress anyway."""
    import gzip
    import json

    usage = {"prompt_tokens": 2, "completion_tokens": 3}
    packed = gzip.compress(json.dumps({"choices": [], "usage": usage}).encode())
    with ModelServer(Reply(body=packed, headers={"content-encoding": "gzip"})) as vendor:
        async with running(tmp_path, vendor.root_url) as gateway:
            status, answer = await gateway.chat()
            assert (status, answer["usage"]) == (200, usage)
            await gateway.state.ledger.change(lambda database: None)
            assert await gateway.spent() == 32_000
