"""The program: reads its arguments and what the hub's environment says, serves until a signal ends it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from po_jupyter.config import Settings
from po_jupyter.errors import PoError
from po_jupyter.hub.behalf import BehalfTokens
from po_jupyter.hub.gateway import Gateway
from po_jupyter.hub.hub_identity import HubIdentity
from po_jupyter.hub.identity import TokenTable
from po_jupyter.hub.limits_file import LimitsFile
from po_jupyter.hub.state import GatewayState
from po_jupyter.platform import open_files
from po_jupyter.platform.signals import on_reload, on_signal
from po_jupyter.telemetry import logging

log = structlog.get_logger(__name__)
_PREFIX = "/services/po/"
_MOST_FILES = 1_000_000
_HEAD = 20.0  # seconds for the head of a connection's first request
_GRACE = 20.0  # seconds for calls in flight when it ends


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0 after a signal, 1 when the gateway cannot start."""
    options = _arguments(argv)
    logging.configure(Settings())
    try:
        asyncio.run(_serve(options))
    except (PoError, OSError) as error:
        print(f"po_jupyter.hub: {error}", file=sys.stderr)
        return 1
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m po_jupyter.hub", description="The model gateway: a service of a JupyterHub."
    )
    parser.add_argument("--config", type=Path, required=True, help="limits.yaml")
    parser.add_argument(
        "--host", help="where to listen (default: as JUPYTERHUB_SERVICE_URL says, else 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, help="the same; 0 is any free one")
    parser.add_argument(
        "--tokens", type=Path,
        help="without a hub: a JSON file {TOKEN: {name, groups, is_admin, for_others}} of those who may use it",
    )  # fmt: skip
    return parser.parse_args(argv)


async def _serve(options: argparse.Namespace) -> None:
    open_files.raise_limit(_MOST_FILES)  # a connection is one, and the usual limit is 1024
    address = urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL", ""))
    host = options.host or address.hostname or "127.0.0.1"
    port = options.port if options.port is not None else address.port or 0
    state = GatewayState(LimitsFile(options.config))
    if options.tokens is not None:
        prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", _PREFIX)
        table = TokenTable.read(options.tokens)
        gateway = Gateway(state, BehalfTokens(table, table), prefix=prefix)
    else:
        identity = HubIdentity()
        people = BehalfTokens(identity, identity)
        gateway = Gateway(state, people, login=identity, servers=identity, prefix=identity.prefix)
    async with RunningGateway(gateway, host, port) as running:
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            on_signal(number, stopped.set)
        on_reload(state.reload_or_log)
        print(json.dumps({"url": running.url}), flush=True)
        await stopped.wait()


class _Connection(RequestHandler):
    """A connection that is closed when the head of its first request does not come."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._timer = asyncio.get_running_loop().call_later(_HEAD, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages:
            self._stop_waiting()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _GatewayServer(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class RunningGateway:
    """A gateway that listens, as a context."""

    def __init__(self, gateway: Gateway, host: str = "127.0.0.1", port: int = 0) -> None:
        """`port` 0 is any free one."""
        self.gateway = gateway
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """The address that users have as PO_HUB_URL, without a hub's proxy before it."""
        return f"http://{self._host}:{self._port}{self.gateway.prefix.rstrip('/')}"

    async def __aenter__(self) -> RunningGateway:
        """Listen. Raises StoreUnusable, OSError."""
        await self.gateway.start()
        # Not decompressed: a body that is compressed is refused before it is read.
        server = _GatewayServer(self.gateway.handle, access_log=None, auto_decompress=False)
        self._runner = web.ServerRunner(server, shutdown_timeout=_GRACE)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, backlog=1024)
        await site.start()
        self._port = int(self._runner.addresses[0][1])
        log.info("the gateway listens", url=self.url)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Let calls in flight end, and close the ledger."""
        if self._runner is not None:
            await self._runner.cleanup()
        await self.gateway.stop()
