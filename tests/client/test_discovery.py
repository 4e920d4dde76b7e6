"""Finding the orchestrator, in FINDINGS' order, and starting the headless one."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from po_jupyter import config
from po_jupyter.client import discovery
from po_jupyter.client.client import Client
from po_jupyter.errors import Unavailable
from tests.support.jupyter_process import JupyterProcess, definition


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment with nothing to find, whose data directory is this test's."""
    for name in list(os.environ):
        if name.startswith(("PO_", "JUPYTER", "JPY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PO_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    return dict(os.environ)


@pytest.fixture
def started(environ: dict[str, str]) -> Iterator[discovery.Headless]:
    """A headless orchestrator of this test's own, ended with it."""
    running = discovery.start_headless()
    yield running
    end(running.pid)


def end(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.send_signal(signal.SIGTERM)
        process.wait(15)
    assert not discovery._lives(pid, None)  # and buried


def test_nothing_is_started_for_those_who_only_look(environ: dict[str, str], tmp_path: Path) -> None:
    """DESIGN Doors: read-only verbs never start an orchestrator, nor make a directory."""
    with pytest.raises(Unavailable, match="no orchestrator is running") as caught:
        discovery.connect(start=False)
    assert "po start" in caught.value.hint
    assert not (tmp_path / "data").exists()


def test_a_chosen_orchestrator_is_used_whatever_else_there_is(environ: dict[str, str]) -> None:
    """1: PO_JUPYTER_URL + PO_JUPYTER_TOKEN; never silently replaced by another."""
    chosen = {
        **environ, "PO_JUPYTER_URL": "http://127.0.0.1:9/x/", "PO_JUPYTER_TOKEN": "t",
        "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:1/", "JUPYTERHUB_API_TOKEN": "h", "JPY_PARENT_PID": "1",
    }  # fmt: skip
    found = discovery.find(environ=chosen)
    assert (found.how, found.endpoint.url, found.endpoint.token) == (
        "environment",
        "http://127.0.0.1:9/x/",
        "t",
    )


def test_a_hubs_server_is_found_by_its_environment(environ: dict[str, str], jupyter: JupyterProcess) -> None:
    """2: the single-user server's own address; a bind address is one to connect to."""
    url = jupyter.url.replace("127.0.0.1", "0.0.0.0").replace("localhost", "0.0.0.0")
    hub = {**environ, "JUPYTERHUB_SERVICE_URL": url, "JUPYTERHUB_API_TOKEN": jupyter.token}
    found = discovery.find(environ=hub)
    assert found.how == "hub"
    assert "127.0.0.1" in found.endpoint.url


@pytest.mark.parametrize("kind", ["kernel", "terminal"])
def test_the_server_of_this_kernel_is_found_by_its_file(
    environ: dict[str, str], jupyter: JupyterProcess, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """3: jpserver-$JPY_PARENT_PID.json; a terminal of Lab knows its server's URL instead."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(jupyter.runtime))
    if kind == "kernel":
        monkeypatch.setenv("JPY_PARENT_PID", str(jupyter.process.pid))
    else:
        monkeypatch.setenv("JUPYTER_SERVER_URL", jupyter.url)
    found = discovery.find(start=False)
    assert (found.how, found.endpoint.token, found.notes) == ("jupyter", jupyter.token, ())
    client = discovery.connect(start=False)
    assert client.submit(definition()).cancel().state == "cancelled"
    client.close()


def test_a_server_without_us_is_passed_over_with_a_note(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parent server that lacks the extension (404) is no dead end."""
    process = JupyterProcess(tmp_path / "bare", extensions=(), orchestrator=None)
    try:
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(process.runtime))
        monkeypatch.setenv("JPY_PARENT_PID", str(process.process.pid))
        with pytest.raises(Unavailable, match="no orchestrator is running"):
            discovery.find(start=False)
        found = discovery.find()
        assert found.how == "headless"
        assert "has no po_jupyter" in found.notes[0]
        running = discovery.headless()
        assert running is not None
        end(running.pid)
    finally:
        process.stop()


@pytest.mark.parametrize(
    ("info", "url"),
    [
        (
            {"url": "http://localhost:8888/", "hostname": "localhost", "port": 8888, "base_url": "/"},
            "http://localhost:8888/",
        ),
        ({"hostname": "0.0.0.0", "port": 1, "base_url": "/a/", "secure": True}, "https://127.0.0.1:1/a/"),
        ({"hostname": "::", "port": 2, "base_url": "/"}, "http://127.0.0.1:2/"),
        ({"hostname": "::1", "port": 3, "base_url": "/"}, "http://[::1]:3/"),
        ({"sock": "%2Ftmp%2Fa.sock", "base_url": "/b/"}, "http://localhost/b/"),
    ],
)
def test_runtime_files_of_every_kind_are_read(
    environ: dict[str, str], tmp_path: Path, info: dict[str, object], url: str
) -> None:
    """Addresses to bind, TLS, IPv6 and Unix sockets."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    (folder / "jpserver-77.json").write_text(json.dumps({"token": "t", **info}))
    endpoint = discovery._jupyter_server({"JPY_PARENT_PID": "77"})
    assert endpoint is not None
    assert (endpoint.url, endpoint.is_local) == (url, True)
    assert endpoint.socket == ("/tmp/a.sock" if "sock" in info else None)


def test_a_server_with_only_a_password_is_not_ours(environ: dict[str, str], tmp_path: Path) -> None:
    """No program gets in there."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    (folder / "jpserver-77.json").write_text(json.dumps({"token": "", "password": True, "port": 1}))
    assert discovery._jupyter_server({"JPY_PARENT_PID": "77"}) is None


def test_the_headless_one_is_started_once_and_found_again(environ: dict[str, str]) -> None:
    """4: two clients that start at once get the same; its file is the user's alone; SIGTERM ends it."""
    found: list[discovery.Found] = []
    threads = [threading.Thread(target=lambda: found.append(discovery.find())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.endpoint for one in found}) == 1
    settings = config.load()
    running = discovery.headless(settings)
    assert running is not None
    try:
        folder = discovery.runtime_dir(settings)
        assert stat.S_IMODE((folder / "headless.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert running.endpoint.token not in " ".join(psutil.Process(running.pid).cmdline())
        assert os.getsid(running.pid) != os.getsid(0)  # the end of this terminal is not its end
        client = discovery.connect(start=False)
        assert client.meta()["data_dir"] == str(settings.data_dir)
        assert client.ready()["ready"]
        client.close()
    finally:
        end(running.pid)
    assert discovery.headless(settings) is None
    assert not (folder / "headless.json").exists()
    assert running.endpoint.token not in (folder / "headless.log").read_text()


def test_a_stale_file_is_no_orchestrator(environ: dict[str, str], started: discovery.Headless) -> None:
    """After kill -9 the file is still there; the next client starts a new one, and a held client follows."""
    client = discovery.connect()
    assert client.health() == {"status": "ok"}
    psutil.Process(started.pid).kill()
    while discovery._lives(started.pid, started.created):
        time.sleep(0.01)
    again = discovery.start_headless()
    try:
        assert again.pid != started.pid
        assert client.health() == {"status": "ok"}
        assert client.url == again.endpoint.url
        client.close()
    finally:
        end(again.pid)


def test_one_that_cannot_start_says_why(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """P11: the end of its log, and where it is."""
    with pytest.raises(Unavailable) as caught:
        discovery.start_headless(config.load(), {**environ, "PO_MAX_RUNNING": "many"})
    assert "PO_MAX_RUNNING" in str(caught.value)
    assert "headless.log" in caught.value.hint


def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path, environ: dict[str, str]) -> None:
    """P11."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="no orchestrator can be started"):
        discovery.start_headless(config.load({**environ, "PO_DATA_DIR": str(tmp_path / "file" / "data")}))


def test_a_run_outlives_the_program_that_started_it(
    environ: dict[str, str], started: discovery.Headless
) -> None:
    """DESIGN: what you start here goes on there; a second program sees it."""
    definition = {
        "name": "outlives",
        "tasks": [
            {
                "name": "nap",
                "source": "import time\ndef integration(ctx):\n    time.sleep(1)\n    return 'rested'",
            }
        ],
    }
    code = f"""
from po_jupyter.client import discovery
run = discovery.connect().submit({definition!r})
print(run.id)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    client: Client = discovery.connect(start=False)
    run = client.run(done.stdout.strip())
    before = time.monotonic()
    assert run.wait(20).state == "done", run.error
    assert time.monotonic() - before < 20
    assert run.outputs["nap"] == "rested"
    client.close()
