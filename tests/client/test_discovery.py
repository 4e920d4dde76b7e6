"""Finding the orchestrator, in FINDINGS' order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from po_jupyter.client import discovery, headless
from po_jupyter.errors import Unavailable
from tests.support.headless import end
from tests.support.jupyter_process import JupyterProcess, definition


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


@pytest.mark.integration
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
        running = headless.running()
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
    endpoint = discovery.jupyter_server({"JPY_PARENT_PID": "77"})
    assert endpoint is not None
    assert (endpoint.url, endpoint.is_local) == (url, True)
    assert endpoint.socket == ("/tmp/a.sock" if "sock" in info else None)


def test_a_server_with_only_a_password_is_not_ours(environ: dict[str, str], tmp_path: Path) -> None:
    """No program gets in there."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    (folder / "jpserver-77.json").write_text(json.dumps({"token": "", "password": True, "port": 1}))
    assert discovery.jupyter_server({"JPY_PARENT_PID": "77"}) is None
