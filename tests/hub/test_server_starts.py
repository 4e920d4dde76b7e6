"""When the hub is asked to start a user's server, and when it is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from po_jupyter.hub.gateway import Gateway
from po_jupyter.hub.identity import TokenTable
from po_jupyter.hub.limits_file import LimitsFile
from po_jupyter.hub.server_starts import ServerStarts
from po_jupyter.hub.state import GatewayState
from tests.support.hub import KEY, USERS, GatewayClient, write_config

pytestmark = pytest.mark.integration
HOUR = 3600.0


class Servers:
    """A hub with servers by user; None: a user whom the role leaves out."""

    def __init__(self) -> None:
        self.up: dict[str, bool | None] = {"alice": False, "bob": False}
        self.started: list[str] = []
        self.allows = True

    async def has_server(self, name: str) -> bool | None:
        return self.up.get(name)

    async def start_server(self, name: str) -> bool:
        self.started.append(name)
        return self.allows


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def starting(
    tmp_path: Path, more: str = "start_servers_after: 180"
) -> AsyncIterator[tuple[GatewayClient, Servers, ServerStarts, Clock]]:
    import aiohttp

    from po_jupyter.hub.program import RunningGateway

    clock, servers = Clock(), Servers()
    path = write_config(tmp_path, "http://127.0.0.1:1", more=more)
    state = GatewayState(LimitsFile(path), environ={"TEAM_KEY": KEY}, clock=clock)
    gateway = Gateway(state, TokenTable(USERS), servers=servers)
    async with RunningGateway(gateway) as listening, aiohttp.ClientSession() as session:
        client = GatewayClient(gateway, state, listening.url, session)
        yield client, servers, ServerStarts(state, servers), clock


async def say(client: GatewayClient, runs: object, token: str = "alice-token") -> int:
    return (await client.ask("PUT", "api/work", {"runs": runs}, token=token))[0]


async def test_a_server_with_runs_that_is_gone_is_started_and_ever_more_rarely(tmp_path: Path) -> None:
    async with starting(tmp_path) as (client, servers, starts, clock):
        assert await say(client, 2) == 200 and await say(client, 0, "bob-token") == 200
        await starts.look()
        assert servers.started == []  # it spoke a moment ago
        begin = clock.now
        times = []
        for minute in range(3, 60 * 24 * 2):
            clock.now = begin + minute * 60
            await starts.look()
            if len(servers.started) > len(times):
                times.append(minute)
        hours = [(later - earlier) // 60 for earlier, later in pairwise(times)]
        assert hours == [1, 2, 4, 8, 16] and times[0] == 3
        assert await say(client, 0) == 200  # it came back, and all is done
        clock.now += 48 * HOUR
        count = len(servers.started)
        await starts.look()
        assert len(servers.started) == count


async def test_an_hour_passes_between_starts_whatever_a_server_says_meanwhile(tmp_path: Path) -> None:
    async with starting(tmp_path) as (client, servers, starts, clock):
        for _ in range(10):
            await say(client, 1)
            clock.now += 300
            await starts.look()
        assert len(servers.started) == 1


async def test_a_server_that_is_there_and_one_that_may_not_be_started_are_left(tmp_path: Path) -> None:
    async with starting(tmp_path) as (client, servers, starts, clock):
        servers.up = {"alice": True, "bob": None}
        await say(client, 1)
        await say(client, 1, "bob-token")
        clock.now += 300
        await starts.look()
        assert servers.started == []
        servers.up, servers.allows = {"alice": False}, False
        await starts.look()
        clock.now += 2 * HOUR
        await starts.look()
        assert servers.started == ["alice"]  # a refusal stands for a day


async def test_nothing_is_started_by_default_and_what_is_said_is_checked(tmp_path: Path) -> None:
    async with starting(tmp_path, more="") as (client, servers, starts, clock):
        assert await say(client, 1) == 200
        clock.now += HOUR
        await starts.look()
        assert servers.started == []
        limits = starts._state.config.model_copy(update={"start_servers_after": 60.0})
        starts._state.config = limits
        await starts.look()
        assert servers.started == [], "what was said while it was off is not kept"
        for wrong in (-1, True, "1", None, 10**9):
            assert await say(client, wrong) == 400
        assert await say(client, 1, "guest-token") == 403
        assert await say(client, 1, "nobody") == 401
