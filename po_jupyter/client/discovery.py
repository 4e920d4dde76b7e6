"""Discovery: finds the orchestrator to use, or starts one.

In this order: `PO_JUPYTER_URL` + `PO_JUPYTER_TOKEN`; on a hub `JUPYTERHUB_SERVICE_URL` +
`JUPYTERHUB_API_TOKEN`; the Jupyter server whose kernel (or terminal) this is; else the per-user headless
orchestrator of the data directory, which is started when nobody runs it. A Jupyter server without po_jupyter
is passed over with a note.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from po_jupyter import config
from po_jupyter.client import headless
from po_jupyter.client.async_client import Endpoint
from po_jupyter.client.client import Client
from po_jupyter.client.http.responses import START_HINT
from po_jupyter.client.probe import connection_problem
from po_jupyter.errors import Unavailable


class Discovered(NamedTuple):
    """An orchestrator that answered, how it was found, and remarks for a person about servers passed over."""

    endpoint: Endpoint
    how: Literal["environment", "hub", "jupyter", "headless"]
    notes: tuple[str, ...] = ()


def connect(url: str | None = None, token: str | None = None, *, start: bool = True) -> Client:
    """A client of the orchestrator at `url`, or of the one that is found, or of one that is started.

    With `start=False` nothing is started: Unavailable when there is none. Never waits for longer than
    about 30 s.
    """
    if url is not None:
        return Client(Endpoint(url, token if token is not None else os.environ.get("PO_JUPYTER_TOKEN", "")))
    discovered = find(start=start)
    relocate = headless.current_endpoint if discovered.how == "headless" else None
    return Client(discovered.endpoint, relocate=relocate, notes=discovered.notes)


def find(*, start: bool = True, environ: Mapping[str, str] | None = None) -> Discovered:
    """The orchestrator to use. Raises Unavailable when there is none and none can be started."""
    environ = os.environ if environ is None else environ
    if environ.get("PO_JUPYTER_URL"):
        # Chosen by a person: used or refused, never silently replaced.
        return Discovered(
            Endpoint(environ["PO_JUPYTER_URL"], environ.get("PO_JUPYTER_TOKEN", "")), "environment"
        )
    notes: list[str] = []
    for how, endpoint in _nearby(environ):
        problem = connection_problem(endpoint)
        if problem is None:
            return Discovered(endpoint, how)
        notes.append(f"{problem.message}; a background orchestrator is used instead")
    settings = config.load(environ)
    running = headless.answering(settings)
    if running is None and start:
        running = headless.start(settings, environ)
    if running is None:
        raise Unavailable("no orchestrator is running", hint=START_HINT)
    return Discovered(running.endpoint, "headless", tuple(notes))


def _nearby(environ: Mapping[str, str]) -> Iterator[tuple[Literal["hub", "jupyter"], Endpoint]]:
    """The servers that this process belongs to, by its environment."""
    hub_url = environ.get("JUPYTERHUB_SERVICE_URL")
    if hub_url and environ.get("JUPYTERHUB_API_TOKEN"):
        yield "hub", Endpoint(_connectable(hub_url), environ["JUPYTERHUB_API_TOKEN"])
    server = jupyter_server(environ)
    if server is not None:
        yield "jupyter", server


def _connectable(url: str) -> str:
    """A bind address as an address to connect to."""
    parts = urlsplit(url)
    if parts.hostname in ("0.0.0.0", "::", None):  # noqa: S104 - read here, not bound
        return parts._replace(netloc=f"127.0.0.1:{parts.port or 80}").geturl()
    return url


def jupyter_server(environ: Mapping[str, str]) -> Endpoint | None:
    """The Jupyter server that started this kernel, or this terminal, from its runtime file (mode 0600)."""
    parent, terminal = environ.get("JPY_PARENT_PID"), environ.get("JUPYTER_SERVER_URL")
    if not parent and not terminal:
        return None
    from jupyter_core.paths import jupyter_runtime_dir

    folder = Path(jupyter_runtime_dir())
    names = [folder / f"jpserver-{parent}.json"] if parent else sorted(folder.glob("jpserver-*.json"))
    for path in names:
        info = headless.read_json(path)
        if info is None or (
            not parent and str(info.get("url", "")).rstrip("/") != (terminal or "").rstrip("/")
        ):
            continue
        token = str(info.get("token") or "")
        if not token and info.get("password"):
            return None  # only a browser with the password gets in
        base = str(info.get("base_url") or "/")
        if info.get("sock"):
            return Endpoint("http://localhost" + base, token, unquote(str(info["sock"])))
        scheme = "https" if info.get("secure") else "http"
        host = str(info.get("hostname") or "127.0.0.1")
        if host in ("0.0.0.0", "::", "*"):  # noqa: S104 - read here, not bound
            host = "127.0.0.1"
        return Endpoint(f"{scheme}://{f'[{host}]' if ':' in host else host}:{info.get('port')}{base}", token)
    return None
