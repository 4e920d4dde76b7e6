"""Servers of users whose runs have work left and that are gone: the hub is asked to start them, if the admin wants it.

Users' servers say how many live runs they have. Where one has said so, and nothing for a while, the hub is asked
whether it is there, and to start it if not: an hour after the last start at the earliest, and twice as long after each
one until no run is left.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

import structlog
from aiohttp import web

from po_jupyter.hub.accounts.ledger_database import LedgerDatabase
from po_jupyter.hub.identity import HubUser
from po_jupyter.hub.own_answers import as_json
from po_jupyter.hub.problems import GatewayProblem, invalid
from po_jupyter.hub.state import GatewayState
from po_jupyter.hub.wires.bodies import read_body
from po_jupyter.hub.wires.request_bounds import read_json

log = structlog.get_logger(__name__)
_HOUR = 3600.0
_DAY = 24 * _HOUR
_LOOK = 60.0  # seconds between two looks at the most
_MOST_RUNS = 1_000_000
_NOTE = """INSERT INTO work (username, runs, at, starts, next) VALUES (?, ?, ?, 0, 0)
    ON CONFLICT (username) DO UPDATE SET runs = excluded.runs, at = excluded.at"""


class HubServers(Protocol):
    """Knows and starts users' servers."""

    async def has_server(self, name: str) -> bool | None:
        """Whether a user's server is there, or is being started; None where that cannot be seen. GatewayProblem."""
        ...

    async def start_server(self, name: str) -> bool:
        """Start it; False where the hub does not allow it. GatewayProblem."""
        ...


class _Work(NamedTuple):
    user: str
    starts: int


class ServerStarts:
    """What users' servers said of their runs, and the starts."""

    def __init__(self, state: GatewayState, servers: HubServers) -> None:
        """For the users of `servers`."""
        self._state = state
        self._servers = servers

    async def note(self, request: web.BaseRequest, user: HubUser) -> web.StreamResponse:
        """`PUT api/work`: `{"runs": 2}` are live on the server of who asks. Raises GatewayProblem."""
        runs = read_json(await read_body(request, 1000)).get("runs")
        if isinstance(runs, bool) or not isinstance(runs, int) or not 0 <= runs <= _MOST_RUNS:
            raise invalid("`runs` is the number of live runs")
        after = self._state.config.start_servers_after
        if ":" not in user.name:  # a person
            now = self._state.clock()

            def write(database: LedgerDatabase) -> None:
                if runs and after is not None:
                    database.execute(_NOTE, (user.name, runs, now))
                else:
                    database.execute("DELETE FROM work WHERE username = ?", (user.name,))

            await self._state.ledger.change(write)
            log.debug("live runs of a server", user=user.name, runs=runs)
        return as_json({"start_servers_after": after})

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(min(_LOOK, max(1.0, (self._state.config.start_servers_after or _LOOK) / 2)))
            try:
                await self.look()
            except Exception as error:
                log.warning("servers cannot be looked at now", error=f"{type(error).__name__}: {error}"[:200])

    async def look(self) -> None:
        """Start the servers that are to be started now."""
        after = self._state.config.start_servers_after
        if after is None:
            return
        now = self._state.clock()
        rows = await self._state.ledger.change(
            lambda database: database.execute(
                "SELECT username, starts FROM work WHERE at <= ? AND next <= ?", (now - after, now)
            )
        )
        for name, starts in rows:
            try:
                await self._look_at(_Work(str(name), int(starts or 0)), now)
            except GatewayProblem as problem:
                log.info("the hub does not say whether a server is there", user=name, error=problem.message)

    async def _look_at(self, work: _Work, now: float) -> None:
        is_there = await self._servers.has_server(work.user)
        if is_there:
            return
        if is_there is None:  # a user who is gone, or whom the service's role leaves out
            await self._put_off(work.user, work.starts, now + _DAY)
            return
        await self._put_off(work.user, work.starts + 1, now + min(_HOUR * 2 ** min(work.starts, 5), _DAY))
        if await self._servers.start_server(work.user):
            log.info("a server is started: its user's runs have work left", user=work.user)
        else:
            await self._put_off(work.user, work.starts, now + _DAY)

    async def _put_off(self, user: str, starts: int, until: float) -> None:
        values = (starts, until, user)
        await self._state.ledger.change(
            lambda database: database.execute("UPDATE work SET starts = ?, next = ? WHERE username = ?", values)
        )
