"""What the client sends again, what it never does, and what it makes of answers that are not ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from po_jupyter.client.async_client import AsyncClient, Endpoint
from po_jupyter.errors import Forbidden, InvalidInput, NotFound, RateLimited, Unauthenticated, Unavailable

pytestmark = pytest.mark.integration

RUN = {
    "id": "0" * 22, "name": "n", "pipeline": "p", "version": "1.0.0", "state": "pending",
    "created_at": "", "updated_at": "", "seed": {},
}  # fmt: skip
CUT = "cut"  # the request is read and the connection closed without an answer
SILENT = "silent"


class Script:
    """A real server on loopback that plays one answer after the other and keeps what it was sent."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.seen: list[tuple[str, str, dict[str, str], Any]] = []

    async def start(self) -> str:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
                content = await reader.readexactly(int(headers.get("content-length", 0)))
                self.seen.append((method, path, headers, json.loads(content) if content else None))
                answer = self.answers.pop(0) if self.answers else (200, {"run": RUN})
                if answer == CUT:
                    return
                if answer == SILENT:
                    await asyncio.sleep(5)
                    return
                status, data, *more = answer
                text = data.encode() if isinstance(data, str) else json.dumps(data).encode()
                extra = "".join(f"{k}: {v}\r\n" for k, v in (more[0] if more else {}).items())
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n{extra}\r\n".encode() + text
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def stop(self) -> None:
        self.server.close()


@pytest.fixture
async def script() -> AsyncGenerator[Script, None]:
    script = Script()
    yield script
    await script.stop()


@pytest.fixture
async def client(script: Script) -> AsyncGenerator[AsyncClient, None]:
    async with AsyncClient(Endpoint(await script.start(), "t"), timeout=0.5) as client:
        yield client


@pytest.mark.parametrize("lost", [[CUT], [CUT, CUT], [SILENT]])
async def test_a_lost_answer_to_submit_starts_one_run(
    script: Script, client: AsyncClient, lost: list[str]
) -> None:
    """P12: it is asked again with the same key, which the orchestrator answers with the same run."""
    script.answers = list(lost)
    view = await client.submit({"pipeline": {}, "seed": {}})
    assert view.id == RUN["id"]
    keys = {sent["idempotency_key"] for _, _, _, sent in script.seen}
    assert len(script.seen) == len(lost) + 1
    assert len(keys) == 1
    assert keys.pop().startswith("auto-")


async def test_a_key_of_the_callers_own_is_kept(script: Script, client: AsyncClient) -> None:
    """DESIGN Identity."""
    await client.submit({"pipeline": {}, "seed": {}, "idempotency_key": "mine"})
    assert script.seen[0][3]["idempotency_key"] == "mine"


async def test_what_may_have_happened_is_not_repeated(script: Script, client: AsyncClient) -> None:
    """A resume or a decision whose answer was lost is told as such: a second one would be a conflict."""
    for call in (client.resume("abcd"), client.gate("abcd", "approve")):
        script.answers, script.seen = [CUT], []
        with pytest.raises(Unavailable):
            await call
        assert len(script.seen) == 1


async def test_a_server_that_is_silent_is_not_waited_for_again(script: Script, client: AsyncClient) -> None:
    """A read ends after one timeout."""
    script.answers = [SILENT]
    with pytest.raises(Unavailable, match="did not answer in time"):
        await client.run("abcd")
    assert len(script.seen) == 1


async def test_too_many_requests_are_waited_for(script: Script, client: AsyncClient) -> None:
    """Retry-After is honoured, a few times."""
    limited = (
        429,
        {"error": {"code": "rate_limited", "message": "slow", "hint": "", "details": {}}},
        {"Retry-After": "0"},
    )
    script.answers = [limited, limited]
    assert (await client.cancel("abcd")).state == "pending"
    script.answers = [limited] * 9
    with pytest.raises(RateLimited, match="slow"):
        await client.run("abcd")


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ((403, "<html>'_xsrf' argument missing"), Forbidden, "token"),  # a hub, to an expired token
        ((302, "", {"Location": "/hub/login"}), Forbidden, "token"),
        ((401, "nope"), Unauthenticated, "token"),
        ((404, "<html>404"), NotFound, "no po_jupyter"),
        ((502, "<html>bad gateway"), Unavailable, "502"),
        ((200, "<html>a login page"), Unavailable, "200"),
        ((200, "[1]"), Unavailable, "200"),
        ((503, {"error": {"code": "unavailable", "message": "still starting"}}), Unavailable, "still starting"),
    ],
)
async def test_answers_that_are_not_ours(
    script: Script, client: AsyncClient, answer: Any, error: type[Exception], said: str
) -> None:
    """P11: proxies, hubs, pages: each is told for what it is."""
    script.answers = [answer]
    with pytest.raises(error, match=said) as caught:
        await client.health()
    assert caught.value.hint or said == "still starting"


async def test_names_cannot_leave_their_place_in_the_path(script: Script, client: AsyncClient) -> None:
    """P6: an id is data."""
    await client.run("a/../b?x=1#y")
    assert script.seen[0][1] == "/po/api/v1/runs/a%2F..%2Fb%3Fx%3D1%23y"
    for name in ("", ".", ".."):
        with pytest.raises(InvalidInput):
            await client.run(name)


async def test_the_token_travels_in_the_header_alone(script: Script, client: AsyncClient) -> None:
    """P10: never in a URL, where logs would keep it."""
    await client.run("abcd", quiet=True)
    _, path, headers, _ = script.seen[0]
    assert headers["authorization"] == "token t"
    assert "token" not in path
    assert "no_track_activity=1" in path


@pytest.mark.parametrize("url", ["", "x", "http://127.0.0.1:1/po/api/v1", "ftp://x/"])
async def test_an_address_of_any_shape_is_taken_or_refused(url: str) -> None:
    """P11: PO_JUPYTER_URL is typed by people."""
    async with AsyncClient(Endpoint(url), timeout=0.5) as client:
        with pytest.raises(Unavailable):
            await client.health()


async def test_a_server_that_says_when_is_asked_again(script: Script, client: AsyncClient) -> None:
    """C8: a hub that is down for a moment, a machine without a thread; nothing was done, so a POST is repeated, too."""
    busy = (503, {"error": {"code": "unavailable", "message": "later", "details": {}}}, {"Retry-After": "0"})
    script.answers = [busy, busy, (200, {"run": RUN})]
    assert (await client.cancel("abcd")).id
    assert len(script.seen) == 3
