"""What one user does leaves the others' calls and budgets alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from po_jupyter.hub.problems import GatewayProblem
from po_jupyter.hub.wires.batch_inputs import bound_file, bound_requests
from tests.support.hub import GatewayClient, running

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]
Answer = Callable[[web.BaseRequest], web.StreamResponse]
CHAT = "openai/v1/chat/completions"
FINE = {"model": "gpt-5-mini", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 5}}  # fmt: skip
BATCH = {"requests": [{"custom_id": "a", "params": {"model": "claude-haiku-4-5", "max_tokens": 5000,
                                                   "messages": [{"role": "user", "content": "x"}]}}]}  # fmt: skip


class Vendor:
    """A vendor that answers with `status` and `body`, once `open` is set."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.status, self.body, self.pieces = 200, json.dumps(FINE).encode(), 0

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        self.requests.append(request.path)
        await self.open.wait()
        if not self.pieces:
            headers = {"Location": "https://elsewhere.example"} if 300 <= self.status < 400 else {}
            return web.Response(
                status=self.status, body=self.body, content_type="application/json", headers=headers
            )
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        with suppress(ConnectionError):
            for _ in range(self.pieces):
                await stream.write(self.body)
        return stream


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Vendor, str]]:
    vendor = Vendor()
    runner = web.ServerRunner(web.Server(vendor), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield vendor, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def reserved(gateway: GatewayClient, user: str) -> float:
    rows = gateway.state.balances.windows(user, (), gateway.state.clock())
    return next(r["reserved"] for r in rows if (r["window"], r["unit"]) == ("day", "usd"))


def body(text: str = "hello", **fields: object) -> bytes:
    asked = {"model": "gpt-5-mini", "max_tokens": 5, "messages": [{"role": "user", "content": text}], **fields}
    return json.dumps(asked).encode()


@asynccontextmanager
async def connection(
    gateway: GatewayClient, data: bytes, *, size: int | None = None, limit: int = 65536
) -> AsyncIterator[asyncio.StreamReader]:
    """A request of alice's that is written as far as `data`; `size` is what it says."""
    host, _, port = gateway.url.removeprefix("http://").partition("/")[0].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=limit)
    path = f"/services/po/{CHAT}"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice-token\r\n"
    writer.write(f"{head}Content-Length: {size or len(data)}\r\n\r\n".encode() + data)
    try:
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


async def test_a_name_that_no_database_takes_stops_nobody(tmp_path: Path) -> None:
    async with serving() as (_, url), running(tmp_path, url) as gateway:
        bad = b'{"input_file_id":"\\ud800","endpoint":"/v1/chat/completions"}'

        async def alice() -> int:
            return (await gateway.ask("POST", "openai/v1/batches", bad))[0]

        async def bob() -> int:
            return (await gateway.chat(token="bob-token"))[0]

        statuses = await asyncio.gather(*(one() for _ in range(20) for one in (alice, bob)))
        assert statuses == [404, 200] * 20
        await until(lambda: gateway.state.balances.in_flight() == 0)
        await gateway.state.ledger.change(lambda database: None)
        assert await gateway.reserved() == 0


async def test_a_call_whose_user_left_the_queue_is_not_sent(tmp_path: Path) -> None:
    """Who gives up and tries again would pay for each."""
    limits = {"each_user": {"concurrency": 1}}
    async with serving() as (vendor, url), running(tmp_path, url, limits=limits) as gateway:
        vendor.open.clear()
        first = asyncio.create_task(gateway.chat("one"))
        await until(lambda: vendor.requests)
        async with connection(gateway, body()):
            await until(lambda: gateway.state.admission.waiting)
        vendor.open.set()
        assert (await first)[0] == 200
        await until(lambda: gateway.state.balances.in_flight() == 0 and not gateway.state.admission.waiting)
        await gateway.state.ledger.change(lambda database: None)
        assert len(vendor.requests) == 1
        rows = await gateway.state.ledger.change(gateway.state.ledger.totals("0000"))
        assert (sum(row.amounts.calls for row in rows), await gateway.reserved()) == (1, 0)


@pytest.mark.parametrize("status", [401, 403, 302, 400, 429])
async def test_a_batch_that_was_refused_holds_nothing(tmp_path: Path, status: int) -> None:
    async with serving() as (vendor, url), running(tmp_path, url) as gateway:
        vendor.status = status
        answered, _, _ = await gateway.ask("POST", "anthropic/v1/messages/batches", BATCH)
        assert answered in (503, status) and len(vendor.requests) == 1
        assert (gateway.state.batches, reserved(gateway, "alice")) == ({}, 0)
        assert await gateway.reserved() == 0


@pytest.mark.parametrize("status", [201, 202, 206])
async def test_an_answer_with_another_status_of_success_counts(tmp_path: Path, status: int) -> None:
    async with serving() as (vendor, url), running(tmp_path, url) as gateway:
        vendor.status = status
        await gateway.chat("x")
        await gateway.state.ledger.change(lambda database: None)
        assert await gateway.spent() == 5 * 1000 + 5 * 10_000


async def test_a_user_who_does_not_read_holds_no_place_for_ever(tmp_path: Path) -> None:
    async with serving() as (vendor, url), running(tmp_path, url, more="timeout: 1") as gateway:
        event = {"choices": [{"delta": {"content": "x" * 60_000}}]}
        vendor.body, vendor.pieces = b"data: " + json.dumps(event).encode() + b"\n\n", 2000
        async with connection(gateway, body(stream=True), limit=1000) as reader:
            await reader.read(10)
            await until(lambda: gateway.state.balances.in_flight() == 0)


async def test_slow_bodies_of_a_user_are_so_many_and_no_more(tmp_path: Path) -> None:
    async with serving() as (_, url), running(tmp_path, url) as gateway, contextlib.AsyncExitStack() as stack:
        for _ in range(110):
            await stack.enter_async_context(connection(gateway, b"{", size=1000))
        async with asyncio.timeout(10):
            while (answered := await gateway.chat())[0] == 200:
                await asyncio.sleep(0.05)
        assert (answered[0], answered[1]["error"]["code"]) == (429, "rate_limited")
        assert (await gateway.chat(token="bob-token"))[0] == 200


async def test_a_head_that_does_not_come_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("po_jupyter.hub.program._HEAD", 0.2)
    async with serving() as (_, url), running(tmp_path, url) as gateway:
        async with asyncio.timeout(10):
            assert await gateway.raw(b"POST /serv") == b""
        assert (await gateway.chat())[0] == 200


async def test_uploads_are_calls_of_a_minute_and_a_user_keeps_so_many_bytes(tmp_path: Path) -> None:
    limits = {"users": {"bob": {"calls_per_minute": 2}}}
    row = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": json.loads(body())}
    line = json.dumps(row).encode() + b"\n"

    async def upload(lines: int, token: str) -> int:
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", line * lines, filename="x.jsonl", content_type="application/jsonl")
        async with gateway.session.post(
            f"{gateway.url}/openai/v1/files", data=form, headers={"Authorization": f"Bearer {token}"}
        ) as response:
            return response.status

    more = "queue: {seconds: 0}\nmax_kept: 30000"
    now = time.time()
    async with (
        serving() as (vendor, url),
        running(tmp_path, url, limits=limits, more=more, clock=lambda: now) as gateway,
    ):
        vendor.body = b'{"id": "file-1"}'
        assert [await upload(1, "bob-token") for _ in range(3)] == [200, 200, 429]
        vendor.body = b'{"id": "file-2"}'
        assert await upload(100, "alice-token") == 200
        vendor.body = b'{"id": "file-3"}'
        assert await upload(100, "alice-token") == 400
        assert (await gateway.ask("DELETE", "openai/v1/files/file-2"))[0] == 200
        assert await upload(100, "alice-token") == 200
        vendor.body = b'{"id": "file-4"}'
        assert await upload(100, "alice-token") == 400
        now += 30 * 86400 + 1  # the vendor has deleted it meanwhile
        assert await upload(100, "alice-token") == 200


@pytest.mark.parametrize(
    "data",
    [b"\n" * 3_000_000, b'{"custom_id":[' + b"[]," * 500_000 + b"[]]}", b"\r" * 3_000_000],
)
async def test_a_file_of_nothing_is_refused_without_much_ado(data: bytes) -> None:
    with pytest.raises(GatewayProblem):
        bound_file(data, (), lambda request: pytest.fail("it is none"))


@pytest.mark.parametrize(
    "data",
    [
        b'{"requests":[' + b"[]," * 500_000 + b"[]]}",
        b'{"requests":[{"custom_id":"a","params":{"messages":[' + b"[]," * 500_000 + b"[]]}}]}",
        b'{"requests":[' + b"[" * 500_000,
        b'{"requests":[{"custom_id":"' + b'\\"' * 500_000,
        b'{"requests":[],"requests":[]}', b'{"requests":[{}]}x', b'{"requests":[{},]}', b'{"requests":[{}{}]}',
        b'{"requests":[{}', b'{"requests":{}}', b"[]", b"",
    ],
)  # fmt: skip
async def test_a_batch_of_nothing_is_refused_without_much_ado(data: bytes) -> None:
    with pytest.raises(GatewayProblem):
        bound_requests(data, (), lambda request: pytest.fail("it is none"))
