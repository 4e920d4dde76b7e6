"""Discovery: finds the orchestrator to use, or starts one.

In this order, the first one that answers:

1. the one that `PO_JUPYTER_URL` + `PO_JUPYTER_TOKEN` name; used or refused, never replaced
2. in a kernel, the Jupyter server that started it: the cell and the side panel show the same runs
3. the server that holds the store of the data directory, whatever kind of server it is (`runtime/holder.json`)
4. in a terminal of a Jupyter server or a hub, that server; not in a project folder, which has data of its own
5. the background orchestrator of the data directory, which is started when nobody runs it

A server without po_jupyter is passed over with a note.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from po_jupyter import config
from po_jupyter.client import headless
from po_jupyter.client.async_client import Endpoint
from po_jupyter.client.client import Client
from po_jupyter.client.http.responses import START_HINT
from po_jupyter.client.probe import connection_problem
from po_jupyter.client.run import Run
from po_jupyter.config import owner
from po_jupyter.config.hub_runs import environment_token, shared_runs_url
from po_jupyter.errors import InvalidInput, NotFound, PoError, Unavailable
from po_jupyter.platform.server_address import connectable, server_address


class Discovered(NamedTuple):
    """An orchestrator that answered, how it was found and why it was taken, and remarks for a person about servers
    passed over. `is_of_data_dir`: whoever serves the data directory later is meant as well."""

    endpoint: Endpoint
    how: Literal["environment", "hub", "jupyter", "headless"]
    notes: tuple[str, ...] = ()
    reason: str = ""
    is_of_data_dir: bool = False


def connect(
    url: str | None = None,
    token: str | None = None,
    *,
    start: bool = True,
    on: str | None = None,
    group: str | None = None,
) -> Client:
    """A client of the orchestrator at `url`, or of the one that is found, or of one that is started.

    With `start=False` nothing is started: Unavailable when there is none. Never waits for longer than
    about 30 s. `on="shared"` is the hub's service of runs without anybody's server, for oneself or for a `group`.
    """
    if on is not None:
        if on != "shared" or url is not None:
            raise InvalidInput(f'`on` is "shared" and without a `url`, not {on!r:.40}')
        return Client(shared_endpoint(group or ""), found_because="it is the hub's service of shared runs")
    if group is not None:
        raise InvalidInput("a group has shared runs alone", hint='Say so: connect(on="shared", group=...)')
    if url is not None:
        return Client(Endpoint(url, token if token is not None else os.environ.get("PO_JUPYTER_TOKEN", "")))
    discovered = find(start=start)
    relocate = headless.current_endpoint if discovered.is_of_data_dir else None
    return Client(
        discovered.endpoint, relocate=relocate, notes=discovered.notes, found_because=discovered.reason
    )


def run_anywhere(client: Client, run_id: str) -> Run:
    """The run of that id: one's own, or a shared one of the hub where none of one's own is called so, or it has moved.

    NotFound as `Client.run` has it."""
    try:
        run = client.run(run_id)
        if run.view.state != "moved":
            return run
    except NotFound:
        run = None
    with suppress(PoError):
        return Client(shared_endpoint(), found_because="it is a shared run").run(run_id)
    return client.run(run_id) if run is None else run


def shared_endpoint(group: str = "", environ: Mapping[str, str] | None = None) -> Endpoint:
    """The hub's service of shared runs, with one's token of the hub. Raises InvalidInput, Unavailable."""
    environ = os.environ if environ is None else environ
    if group and not (group.isascii() and group.isprintable() and group.strip() == group):
        raise InvalidInput(f"{group!r:.60} is no group of the hub that can be named here")
    url = shared_runs_url(config.load(environ))
    token = environment_token(url, environ)
    if not token:
        raise Unavailable(
            "there is no token of the hub here",
            hint="Make one on the hub's page Token, and set PO_HUB_TOKEN; in a server of the hub there is one.",
        )
    return Endpoint(url, token, is_shared=True, group=group)


def find(*, start: bool = True, environ: Mapping[str, str] | None = None) -> Discovered:
    """The orchestrator to use. Raises Unavailable when there is none and none can be started; StoreUnusable when the
    data directory is somebody else's."""
    environ = os.environ if environ is None else environ
    if environ.get("PO_JUPYTER_URL"):
        return Discovered(
            Endpoint(environ["PO_JUPYTER_URL"], environ.get("PO_JUPYTER_TOKEN", "")), "environment",
            reason="PO_JUPYTER_URL names it",
        )  # fmt: skip
    notes: list[str] = []
    for candidate in _candidates(environ, notes):
        problem = connection_problem(candidate.endpoint)
        if problem is None:
            return candidate._replace(notes=tuple(notes))
        notes.append(f"{problem.message}; another orchestrator is used instead")
    settings = config.load(environ)
    running = headless.answering(settings)
    if running is None and start:
        running = headless.start(settings, environ)
    if running is None:
        raise Unavailable("no orchestrator is running", hint=START_HINT)
    reason = f"it is the background orchestrator of {settings.data_dir}"
    return Discovered(running.endpoint, "headless", tuple(notes), reason, True)


def _candidates(environ: Mapping[str, str], notes: list[str]) -> Iterator[Discovered]:
    """The servers that may be used, the best one first; what is passed over is noted."""
    nearby = [Discovered(endpoint, how) for how, endpoint in _nearby(environ)]
    in_kernel = bool(environ.get("JPY_PARENT_PID"))
    if in_kernel:
        for one in nearby:
            yield one._replace(reason="it is the server of this kernel")
    settings = config.load(environ)
    owner.check(settings.data_dir, environ)
    holder = headless.holder(settings)
    if holder is not None:
        kind = "the Jupyter server" if holder.kind == "jupyter" else "the background orchestrator"
        yield Discovered(
            holder.endpoint, "jupyter" if holder.kind == "jupyter" else "headless",
            reason=f"it holds the store of {settings.data_dir} ({kind}, process {holder.pid})", is_of_data_dir=True,
        )  # fmt: skip
    if in_kernel or not nearby:
        return
    if not environ.get("PO_DATA_DIR") and config.project_data(settings.data_dir.parent) == settings.data_dir:
        notes.append(
            "the server of this terminal is passed over: this is a project folder, with data of its own"
        )
        return
    for one in nearby:
        yield one._replace(reason="it is the server of this terminal")


def _nearby(environ: Mapping[str, str]) -> Iterator[tuple[Literal["hub", "jupyter"], Endpoint]]:
    """The servers that this process belongs to, by its environment."""
    hub_url = environ.get("JUPYTERHUB_SERVICE_URL")
    if hub_url and environ.get("JUPYTERHUB_API_TOKEN"):
        yield "hub", Endpoint(connectable(hub_url), environ["JUPYTERHUB_API_TOKEN"])
    server = jupyter_server(environ)
    if server is not None:
        yield "jupyter", server


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
        url, socket = server_address(info)
        return Endpoint(url, token, socket)
    return None
