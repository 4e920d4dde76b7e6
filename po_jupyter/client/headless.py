"""The headless orchestrator: a Jupyter server of its own for one user's data directory, started in the background.

`runtime/headless.json` in the data directory says where it is: `{url, token, pid, created}`. It outlives the process
that started it; `po start` and `po stop` are its switches.
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
from typing import NamedTuple

from po_jupyter import config
from po_jupyter.client.async_client import Endpoint
from po_jupyter.client.probe import connection_problem
from po_jupyter.errors import PoError, Unavailable
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform import file_lock, private_file
from po_jupyter.platform.private_file import PRIVATE_DIRECTORY
from po_jupyter.platform.processes import alive, started_at
from po_jupyter.platform.source_root import SOURCE_ROOT

START_DEADLINE = 60.0  # seconds, as a worker has; one that fails says so at once, and only one that hangs waits
_STOP_DEADLINE = 20.0  # seconds
# Variables that tie a process to one Jupyter server, kernel or hub; the orchestrator outlives them.
_NOT_INHERITED = ("JPY_", "JUPYTER_", "JUPYTERHUB_", "PO_JUPYTER_", "IPYTHON", "PYTHONSTARTUP", "MPLBACKEND")

# Orchestrators that this process started. They may well outlive it; one that ends before has to be reaped here.
_children: list[subprocess.Popen[bytes]] = []


class HeadlessProcess(NamedTuple):
    """A headless orchestrator; `created` is the start of its process in seconds since the epoch."""

    endpoint: Endpoint
    pid: int
    created: float | None


class StoreHolder(NamedTuple):
    """The server that has the workers of a data directory: a `jupyter` server, or the `headless` one."""

    endpoint: Endpoint
    pid: int
    kind: str


def runtime_dir(settings: config.Settings) -> Path:
    """The directory (mode 0700) of the headless orchestrator's ready file, lock and log."""
    return settings.data_dir / "runtime"


def running(settings: config.Settings | None = None) -> HeadlessProcess | None:
    """The orchestrator that wrote its ready file and whose process lives, or None. Does not connect."""
    settings = settings or config.load()
    info = read_json(runtime_dir(settings) / "headless.json")
    if info is None:
        return None
    try:
        endpoint = Endpoint(str(info["url"]), str(info["token"]))
        process = HeadlessProcess(endpoint, int(info["pid"]), info.get("created"))
    except (KeyError, TypeError, ValueError):
        return None
    return process if is_alive(process) else None


def is_alive(process: HeadlessProcess) -> bool:
    """Whether this very process still runs; a dead one that this process started is reaped."""
    _children[:] = [child for child in _children if child.poll() is None]
    return started_at(process.pid, process.created)


def holder(settings: config.Settings) -> StoreHolder | None:
    """The server that holds the store of the data directory, by the file that it wrote there, if its process lives.

    Does not connect. `orchestrator.dispatch.holder_file` writes the file.
    """
    info = read_json(runtime_dir(settings) / "holder.json")
    if info is None or not alive(info):
        return None
    try:
        socket = str(info["socket"]) if info.get("socket") else None
        endpoint = Endpoint(str(info["url"]), str(info["token"]), socket)
        return StoreHolder(endpoint, int(info["pid"]), str(info["kind"]))
    except (KeyError, TypeError, ValueError):
        return None


def answering(settings: config.Settings) -> HeadlessProcess | None:
    """The running orchestrator if it also answers."""
    process = running(settings)
    return process if process is not None and connection_problem(process.endpoint) is None else None


def current_endpoint() -> Endpoint | None:
    """The endpoint of who holds the store now, else of the headless orchestrator, or None. Raises nothing: clients ask
    it after a lost connection."""
    with suppress(PoError):
        settings = config.load()
        process = holder(settings) or running(settings)
        return process.endpoint if process else None
    return None


def start(
    settings: config.Settings | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    deadline: float = START_DEADLINE,
) -> HeadlessProcess:
    """The running headless orchestrator of the data directory; it is started if there is none.

    Two clients that ask at once get the same one. Raises Unavailable with the end of its log.
    """
    environ = os.environ if environ is None else environ
    settings = settings or config.load(environ)
    folder = runtime_dir(settings)
    try:
        settings.data_dir.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        folder.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        return _running_or_started(settings, environ, folder, deadline)
    except OSError as error:
        raise Unavailable(
            f"no orchestrator can be started: {error.filename or folder}: {error.strerror}",
            hint="Set PO_DATA_DIR to a folder of yours.",
        ) from None


def stop(process: HeadlessProcess) -> None:
    """Terminate this one and wait for its end; kill it if it takes too long."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(process.pid)
        found.terminate()
        try:
            found.wait(_STOP_DEADLINE)
        except psutil.TimeoutExpired:
            found.kill()
            found.wait(_STOP_DEADLINE)


def _running_or_started(
    settings: config.Settings, environ: Mapping[str, str], folder: Path, deadline: float
) -> HeadlessProcess:
    until = time.monotonic() + deadline
    with _lock(folder / "headless.lock", until):
        process = answering(settings)
        if process is not None:
            return process
        log = folder / "headless.log"
        child = _launch(settings, environ, folder / "headless.json", log)
        while time.monotonic() < until:
            process = running(settings)
            if (
                process is not None
                and process.pid == child.pid
                and connection_problem(process.endpoint) is None
            ):
                return process
            if child.poll() is not None:
                raise _not_started(f"ended at once (exit {child.returncode})", log)
            time.sleep(0.05)
        child.terminate()
        raise _not_started(f"was not ready within {deadline:g} s", log)


def _not_started(reason: str, log: Path) -> Unavailable:
    return Unavailable(
        f"the background orchestrator {reason}:\n{_tail(log)}",
        hint=f"Its log is {log}. `po doctor` looks for the reason.",
    )


def _launch(
    settings: config.Settings, environ: Mapping[str, str], ready: Path, log: Path
) -> subprocess.Popen[bytes]:
    env = {name: value for name, value in environ.items() if not name.startswith(_NOT_INHERITED)}
    env["PO_DATA_DIR"] = str(settings.data_dir)
    if environ.get("JUPYTERHUB_USER"):  # it outlives the hub's server; its user stays the same
        env["JUPYTERHUB_USER"] = environ["JUPYTERHUB_USER"]
    if SOURCE_ROOT not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        # A checkout that is not installed: -P below leaves the current directory out of the path.
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [SOURCE_ROOT, env.get("PYTHONPATH")]))
    descriptor = private_file.open_private(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
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
    """A lock file, held by one process at a time; the system releases it when that process dies."""
    descriptor = private_file.open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        while not file_lock.try_lock(descriptor):
            if time.monotonic() > until:
                raise Unavailable(
                    "another process has been starting the background orchestrator for too long",
                    hint="Try again; `po doctor` looks for the reason.",
                )
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def read_json(path: Path) -> JsonObject | None:
    """The JSON object in a file; None when there is none."""
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
