"""Finding the orchestrator, or starting one.

In this order: `PO_JUPYTER_URL` + `PO_JUPYTER_TOKEN`; on a hub `JUPYTERHUB_SERVICE_URL` +
`JUPYTERHUB_API_TOKEN`; the Jupyter server whose kernel (or terminal) this is; else the per-user headless
orchestrator of the data directory, which is started when nobody runs it. A Jupyter server without po_jupyter
is passed over with a note.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from po_jupyter import config
from po_jupyter.client import background_loop as loop
from po_jupyter.client.async_client import AsyncClient, Endpoint
from po_jupyter.client.client import Client
from po_jupyter.client.http.responses import START_HINT
from po_jupyter.errors import Forbidden, NotFound, PoError, Unauthenticated, Unavailable
from po_jupyter.platform.source_root import SOURCE_ROOT

START_DEADLINE = 30.0  # seconds; a cold start on a busy machine needs a tenth of it
_PROBE = 5.0  # seconds that a server may take to answer
# What ties a process to one Jupyter server, kernel or hub; the orchestrator outlives them.
_NOT_INHERITED = ("JPY_", "JUPYTER_", "JUPYTERHUB_", "PO_JUPYTER_", "IPYTHON", "PYTHONSTARTUP", "MPLBACKEND")

# What this process started. It may well outlive us; if it ends before, we are the one to bury it.
_children: list[subprocess.Popen[bytes]] = []


class Found(NamedTuple):
    """An orchestrator that answered. `how`: `environment`, `hub`, `jupyter` or `headless`."""

    endpoint: Endpoint
    how: str
    notes: tuple[str, ...] = ()


class Headless(NamedTuple):
    """What `headless.json` says about the running headless orchestrator."""

    endpoint: Endpoint
    pid: int
    created: float | None  # of the process, seconds since the epoch


def connect(url: str | None = None, token: str | None = None, *, start: bool = True) -> Client:
    """A client of the orchestrator at `url`, or of the one that is found, or of one that is started.

    With `start=False` nothing is started: Unavailable when there is none. Never waits for longer than
    about 30 s.
    """
    if url is not None:
        return Client(Endpoint(url, token if token is not None else os.environ.get("PO_JUPYTER_TOKEN", "")))
    found = find(start=start)
    relocate = _headless_endpoint if found.how == "headless" else None
    return Client(found.endpoint, relocate=relocate, notes=found.notes)


def find(*, start: bool = True, environ: Mapping[str, str] | None = None) -> Found:
    """The orchestrator to use. Raises Unavailable when there is none and none can be started."""
    environ = os.environ if environ is None else environ
    if environ.get("PO_JUPYTER_URL"):
        # Chosen by a person: used or refused, never silently replaced.
        return Found(Endpoint(environ["PO_JUPYTER_URL"], environ.get("PO_JUPYTER_TOKEN", "")), "environment")
    notes: list[str] = []
    for how, endpoint in _nearby(environ):
        problem = _problem(endpoint)
        if problem is None:
            return Found(endpoint, how)
        notes.append(f"{problem.message}; a background orchestrator is used instead")
    settings = config.load(environ)
    running = _alive(settings)
    if running is None and start:
        running = start_headless(settings, environ)
    if running is None:
        raise Unavailable("no orchestrator is running", hint=START_HINT)
    return Found(running.endpoint, "headless", tuple(notes))


def _nearby(environ: Mapping[str, str]) -> Iterator[tuple[str, Endpoint]]:
    hub_url = environ.get("JUPYTERHUB_SERVICE_URL")
    if hub_url and environ.get("JUPYTERHUB_API_TOKEN"):
        yield "hub", Endpoint(_reachable(hub_url), environ["JUPYTERHUB_API_TOKEN"])
    own = _jupyter_server(environ)
    if own is not None:
        yield "jupyter", own


def _reachable(url: str) -> str:
    """A bind address as an address to connect to."""
    parts = urlsplit(url)
    if parts.hostname in ("0.0.0.0", "::", None):  # noqa: S104 - read here, not bound
        return parts._replace(netloc=f"127.0.0.1:{parts.port or 80}").geturl()
    return url


def _jupyter_server(environ: Mapping[str, str]) -> Endpoint | None:
    """The server that started this kernel, or this terminal, from its runtime file (mode 0600)."""
    parent, terminal = environ.get("JPY_PARENT_PID"), environ.get("JUPYTER_SERVER_URL")
    if not parent and not terminal:
        return None
    from jupyter_core.paths import jupyter_runtime_dir

    folder = Path(jupyter_runtime_dir())
    names = [folder / f"jpserver-{parent}.json"] if parent else sorted(folder.glob("jpserver-*.json"))
    for path in names:
        info = _read_json(path)
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


def _problem(endpoint: Endpoint) -> PoError | None:
    """Why this server cannot be used, or None. An orchestrator that is merely busy is none of it."""

    async def probe() -> None:
        async with AsyncClient(endpoint, timeout=_PROBE) as client:
            await client.health()

    try:
        loop.run(probe(), _PROBE * 3)
    except (NotFound, Unavailable, Unauthenticated, Forbidden) as error:
        return error
    except TimeoutError:
        return Unavailable(f"the server at {endpoint.url} does not answer")
    except PoError:
        return None
    return None


# -- the headless orchestrator ------------------------------------------------------------------
def runtime_dir(settings: config.Settings) -> Path:
    """Where the headless orchestrator of this data directory says how to reach it (mode 0700)."""
    return settings.data_dir / "runtime"


def headless(settings: config.Settings | None = None) -> Headless | None:
    """The headless orchestrator that wrote its file and whose process lives, or None. Does not connect."""
    settings = settings or config.load()
    info = _read_json(runtime_dir(settings) / "headless.json")
    if info is None:
        return None
    try:
        found = Headless(Endpoint(str(info["url"]), str(info["token"])), int(info["pid"]), info.get("created"))
    except (KeyError, TypeError, ValueError):
        return None
    return found if _lives(found.pid, found.created) else None


def _headless_endpoint() -> Endpoint | None:
    with suppress(PoError):
        found = headless()
        return found.endpoint if found else None
    return None


def _alive(settings: config.Settings) -> Headless | None:
    found = headless(settings)
    return found if found is not None and _problem(found.endpoint) is None else None


def start_headless(
    settings: config.Settings | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    deadline: float = START_DEADLINE,
) -> Headless:
    """The running headless orchestrator of the data directory; it is started if there is none.

    Two clients that ask at once get the same one. Raises Unavailable with the end of its log.
    """
    environ = os.environ if environ is None else environ
    settings = settings or config.load(environ)
    folder = runtime_dir(settings)
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"no orchestrator can be started: {folder}: {error.strerror}",
            hint="Set PO_DATA_DIR to a folder of yours.",
        ) from None
    until = time.monotonic() + deadline
    with _lock(folder / "headless.lock", until):
        running = _alive(settings)
        if running is not None:
            return running
        log = folder / "headless.log"
        process = _launch(settings, environ, folder / "headless.json", log)
        while time.monotonic() < until:
            found = headless(settings)
            if found is not None and found.pid == process.pid and _problem(found.endpoint) is None:
                return found
            if process.poll() is not None:
                raise Unavailable(
                    f"the background orchestrator ended at once (exit {process.returncode}):\n{_tail(log)}",
                    hint=f"Its log is {log}. `po doctor` looks for the reason.",
                )
            time.sleep(0.05)
        process.terminate()
        raise Unavailable(
            f"the background orchestrator was not ready within {deadline:g} s:\n{_tail(log)}",
            hint=f"Its log is {log}. `po doctor` looks for the reason.",
        )


def _launch(
    settings: config.Settings, environ: Mapping[str, str], ready: Path, log: Path
) -> subprocess.Popen[bytes]:
    env = {name: value for name, value in environ.items() if not name.startswith(_NOT_INHERITED)}
    env["PO_DATA_DIR"] = str(settings.data_dir)
    if SOURCE_ROOT not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        # A checkout that is not installed: -P below leaves the current directory out of the path.
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [SOURCE_ROOT, env.get("PYTHONPATH")]))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        process = subprocess.Popen(
            # -P: a file of the user that is called like a module must not be imported instead of it.
            [sys.executable, "-P", "-m", "po_jupyter.server", "--ready-file", str(ready)],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=settings.data_dir,
            env=env,
            start_new_session=True,  # the end of this terminal or kernel is not its end
            close_fds=True,
        )
    finally:
        os.close(descriptor)
    _children.append(process)
    return process


@contextmanager
def _lock(path: Path, until: float) -> Iterator[None]:
    """Held by one process at a time; given up by the system when that process dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not _try_lock(descriptor):
            if time.monotonic() > until:
                raise Unavailable(
                    "another process has been starting the background orchestrator for too long",
                    hint="Try again; `po doctor` looks for the reason.",
                )
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lives(pid: int, created: float | None) -> bool:
    import psutil

    _children[:] = [child for child in _children if child.poll() is None]
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # A pid is used again after a while; the start time tells two processes apart.
        return created is None or abs(process.create_time() - created) < 1.0
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _tail(log: Path, lines: int = 15) -> str:
    try:
        text = log.read_text("utf-8", "replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.strip().splitlines()[-lines:]) or "(its log is empty)"
