"""Whose store it is, with real servers: another person is refused, the same one finds the server that has it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from po_jupyter import config
from po_jupyter.client import discovery, headless
from po_jupyter.errors import StoreUnusable
from tests.support.headless import stop_process
from tests.support.jupyter_process import JupyterProcess, definition
from tests.support.paths import ROOT
from tests.support.start_mode import forget_environment

pytestmark = pytest.mark.acceptance


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A terminal of the same person, without a word about any server; its data directory is the server's."""
    forget_environment(monkeypatch, "PO_", "JUPYTER", "JPY_")
    monkeypatch.setenv("PO_DATA_DIR", str(tmp_path / "lab" / "data"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "elsewhere"))
    return dict(os.environ)


@pytest.fixture
def lab(environ: dict[str, str], tmp_path: Path) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path / "lab", orchestrator=None, env={"JUPYTERHUB_USER": "ada"})
    with process.http() as http:
        assert http.get("meta").status_code == 200
    yield process
    process.stop()


def test_a_terminal_beside_lab_finds_labs_orchestrator(lab: JupyterProcess) -> None:
    """D: who holds the store is written beside it, for its user alone; it was passed over, and a second one started."""
    path = lab.data / "runtime" / "holder.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert lab.token not in path.read_text(), "a token of the server's life, not Jupyter's"
    found = discovery.find(start=False)
    assert (found.how, found.notes) == ("jupyter", ())
    assert found.endpoint.url == lab.url
    assert found.reason == f"it holds the store of {lab.data} (the Jupyter server, process {lab.process.pid})"
    client = discovery.connect(start=False)
    run = client.submit(definition())
    client.close()
    with lab.http() as http:
        assert http.get(f"runs/{run.id}").json()["run"]["owner"] == "ada", "C9: the same person, one owner"
    done = subprocess.run(
        [sys.executable, "-m", "po_jupyter", "status"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert found.reason in done.stdout, done.stderr
    lab.stop()
    assert not path.exists()


def test_a_holder_that_was_killed_is_nobody(lab: JupyterProcess) -> None:
    path = lab.data / "runtime" / "holder.json"
    lab.kill()
    assert path.exists()
    assert headless.holder(config.load()) is None
    info = json.loads(path.read_text())
    path.write_text(json.dumps({**info, "host": "another", "pid": os.getpid()}))
    assert headless.holder(config.load()) is None, "of another machine nobody here can say that it lives"


def test_another_user_of_the_hub_gets_neither_store_nor_server(
    lab: JupyterProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C9: one message, in the server and in a terminal; the extension loads."""
    grace = JupyterProcess(
        tmp_path / "grace", orchestrator=None, env={"JUPYTERHUB_USER": "grace", "PO_DATA_DIR": str(lab.data)}
    )
    try:
        with grace.http() as http:
            assert http.get("health").status_code == 200
            answer = http.get("runs")
            assert (answer.status_code, answer.json()["error"]["code"]) == (507, "store_unusable")
            assert "belongs to 'ada' on this hub, not to 'grace'" in answer.json()["error"]["message"]
    finally:
        grace.stop()
    assert "Traceback" not in grace.log.read_text()
    monkeypatch.setenv("JUPYTERHUB_USER", "grace")
    with pytest.raises(StoreUnusable, match="belongs to 'ada'"):
        discovery.find()
    with pytest.raises(Exception, match="belongs to 'ada'"):
        headless.start()


def test_a_project_in_a_hubs_terminal_is_its_own(
    lab: JupyterProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D: `po init && po start` in a hub's terminal was passed over for the hub's server."""
    monkeypatch.delenv("PO_DATA_DIR")
    monkeypatch.setenv("JUPYTERHUB_SERVICE_URL", lab.url)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", lab.token)
    project = tmp_path / "project"
    (project / config.PROJECT_DATA).mkdir(parents=True)
    (project / config.PROJECT_DATA / "po.yaml").write_text("max_running: 3\n")
    monkeypatch.chdir(project)
    running = headless.start()
    try:
        found = discovery.find(start=False)
        assert (found.how, found.endpoint) == ("headless", running.endpoint)
        assert str(project / config.PROJECT_DATA) in found.reason
    finally:
        stop_process(running.pid)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PO_DATA_DIR", str(tmp_path / "nobodys"))
    found = discovery.find(start=False)
    assert (found.how, found.reason) == ("hub", "it is the server of this terminal")


def test_one_started_beside_lab_is_the_same_persons_and_leaves_lab_the_store(lab: JupyterProcess) -> None:
    """C9: `po start` beside Lab follows, has the same owner, and takes over when Lab ends."""
    running = headless.start()
    try:
        assert discovery.find().endpoint.url == lab.url
        client = discovery.connect()
        run = client.submit(definition())
        lab.stop()
        assert client.run(run.id).view.owner == "ada", "the client follows to the next holder"
        client.close()
        assert psutil.pid_exists(running.pid)
    finally:
        stop_process(running.pid)
