"""A gateway for tests: it listens on loopback, knows users by a table of tokens, and has the model server as vendor."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from po_jupyter.hub.browser_sessions import BrowserLogin
from po_jupyter.hub.gateway import Gateway
from po_jupyter.hub.identity import HubUser, TokenAuthority, TokenTable
from po_jupyter.hub.limits_file import LimitsFile
from po_jupyter.hub.program import RunningGateway
from po_jupyter.hub.state import GatewayState

KEY = "sk-team-key-0123456789-abcdef"
USERS: Mapping[str, HubUser] = {
    "alice-token": HubUser("alice", ("red",)),
    "bob-token": HubUser("bob", ("red", "blue")),
    "admin-token": HubUser("root", (), is_admin=True),
    "guest-token": HubUser("guest", may_use=False),
}
MODEL = "openai:gpt-5-mini"
_CONFIG = """
# the team's
providers:
  openai: {{base_url: "{base}", key_env: TEAM_KEY}}
  mistral: {{base_url: "{base}", key_env: TEAM_KEY}}
  anthropic: {{base_url: "{root}", key_env: TEAM_KEY}}
  gemini: {{base_url: "{root}", key_env: TEAM_KEY}}
models: ["openai:gpt-5-mini", "openai:gpt-5", "mistral:mistral-small-latest", "anthropic:claude-haiku-4-5",
  "gemini:gemini-2.5-flash", "openai:text-embedding-3-small", "mistral:mistral-embed", "gemini:gemini-embedding-001"]
aliases: {{small: "openai:gpt-5-mini"}}
prices:
  "openai:gpt-5-mini": {{input: 1, output: 10}}
  "mistral:mistral-small-latest": {{input: 1, output: 10}}
  "anthropic:claude-haiku-4-5": {{input: 1, output: 10}}
  "gemini:gemini-2.5-flash": {{input: 1, output: 10}}
  "openai:text-embedding-3-small": {{input: 1, output: 0}}
  "mistral:mistral-embed": {{input: 1, output: 0}}
  "gemini:gemini-embedding-001": {{input: 1, output: 0}}
{more}
limits: {limits}
"""


def write_config(folder: Path, root_url: str, *, limits: object = None, more: str = "") -> Path:
    """A `limits.yaml` with the server at `root_url` as every vendor."""
    path = folder / "limits.yaml"
    text = _CONFIG.format(base=f"{root_url}/v1", root=root_url, limits=json.dumps(limits or {}), more=more)
    path.write_text(text)
    return path


@dataclass
class GatewayClient:
    """A running gateway and a client for it."""

    gateway: Gateway
    state: GatewayState
    url: str
    session: aiohttp.ClientSession

    async def ask(
        self, method: str, path: str, body: object = None, *, token: str = "alice-token", **headers: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        """(status, JSON or text, headers) of a request; `path` is below the service's prefix."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent.setdefault("Authorization", f"Bearer {token}")
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        async with self.session.request(
            method, f"{self.url}/{path}", data=data, headers=sent, allow_redirects=False
        ) as response:
            text = await response.text()
            try:
                return response.status, json.loads(text), response.headers
            except ValueError:
                return response.status, text, response.headers

    async def chat(
        self, text: str = "hello", *, token: str = "alice-token", **fields: object
    ) -> tuple[int, Any]:
        """(status, JSON) of a call of Chat Completions."""
        body = {
            "model": "gpt-5-mini",
            "max_tokens": 50,
            "messages": [{"role": "user", "content": text}],
            **fields,
        }
        status, answer, _ = await self.ask("POST", "openai/v1/chat/completions", body, token=token)
        return status, answer

    async def raw(self, request: bytes) -> bytes:
        """The head of the answer to a request that is written as it is."""
        host, _, port = self.url.removeprefix("http://").partition("/")[0].partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(request)
            await writer.drain()
            return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        except asyncio.IncompleteReadError as closed:
            return closed.partial
        finally:
            writer.close()

    async def spent(self, user: str = "alice") -> int:
        """Nano-dollars of a user that are settled, as the ledger has them."""
        rows = await self.state.ledger.change(self.state.ledger.totals("0000"))
        return sum(row.amounts.nano for row in rows if row.user == user)

    async def reserved(self) -> int:
        """The reservations that the ledger has."""
        rows = await self.state.ledger.change(
            lambda database: database.execute("SELECT count(*) FROM reservations")
        )
        return int(rows[0][0] or 0)


@asynccontextmanager
async def running(
    folder: Path,
    root_url: str,
    *,
    limits: object = None,
    more: str = "",
    clock: Callable[[], float] = time.time,
    authenticator: TokenAuthority | None = None,
    login: BrowserLogin | None = None,
) -> AsyncIterator[GatewayClient]:
    """A gateway with a server as its vendors. `more` are further lines of its configuration."""
    path = write_config(folder, root_url, limits=limits, more=more)
    state = GatewayState(LimitsFile(path), environ={"TEAM_KEY": KEY}, clock=clock)
    gateway = Gateway(state, authenticator or TokenTable(USERS), login=login)
    async with RunningGateway(gateway) as listening, aiohttp.ClientSession() as session:
        yield GatewayClient(gateway, state, listening.url, session)
