"""Runs without anybody's server, from a terminal and from Python, with nothing but a token of the hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import po_jupyter as po
from po_jupyter.errors import Forbidden, InvalidInput, NotFound, Unavailable
from po_jupyter.hub_runs.program import main
from po_jupyter.testing.model_server import ModelServer
from tests.support.paths import ROOT
from tests.support.shared_runs import TEAM_KEY, SharedRuns, shared_runs

pytestmark = pytest.mark.acceptance
PIPELINE = """
name: notes
llm: {model: "openai:gpt-5-mini", max_tokens: 20}
tasks:
  - {name: label, for_each: "{{ seed.rows }}", prompt: "note {{ item }}"}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedRuns]:
    with (
        ModelServer(key=TEAM_KEY) as vendor,
        shared_runs(tmp_path_factory.mktemp("shared"), vendor.root_url) as running,
    ):
        yield running


@pytest.fixture
def environ(service: SharedRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own environment; the gateway and the service are not beside each other here, as they are on a hub."""
    monkeypatch.setenv("PO_HUB_RUNS_URL", service.url)
    monkeypatch.delenv("PO_HUB_URL", raising=False)
    monkeypatch.setenv("PO_HUB_TOKEN", "token-of-alice")
    monkeypatch.setenv("PO_DATA_DIR", str(tmp_path / "own"))
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)
    (tmp_path / "notes.yaml").write_text(PIPELINE)
    return tmp_path


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "po_jupyter", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "150"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_a_run_from_a_terminal_goes_on_without_a_server_of_ones_own(environ: Path) -> None:
    done = command(environ, "run", "notes.yaml", "--seed", '["a", "b"]', "--on", "shared", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads(done.stdout)
    assert (run["state"], run["owner"]) == ("done", "alice")
    listed = command(environ, "runs", "--on", "shared")
    assert run["id"][-6:] in listed.stdout
    assert command(environ, "rows", run["id"], "--on", "shared").returncode == 0
    assert "done" in command(environ, "show", run["id"][-6:], "--on", "shared").stdout
    assert not (environ / "own").exists()  # nothing was started here
    assert "no orchestrator is running" in command(environ, "runs").stderr


def test_a_groups_run_from_a_terminal_says_who_did_what(environ: Path) -> None:
    at = ("--on", "shared", "--group", "red")
    done = command(environ, "run", "notes.yaml", "--seed", '["a"]', "--json", *at)
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads(done.stdout)
    assert run["owner"] == "group:red"
    assert run["id"][-6:] in command(environ, "runs", *at).stdout
    assert run["id"][-6:] not in command(environ, "runs", "--on", "shared").stdout
    assert "alice" in command(environ, "logs", run["id"], "--on", "shared").stdout
    refused = command(environ, "runs", "--on", "shared", "--group", "blue")
    assert refused.returncode == 1
    assert "you have no role in the group 'blue'" in refused.stderr
    assert "group has shared runs alone" in command(environ, "runs", "--group", "red").stderr


def test_from_python_too(environ: Path) -> None:
    with closing(po.connect(on="shared")) as client:
        run = client.submit(PIPELINE, seed=["one"])
        assert run.wait().state == "done"
        assert run.id in [found.id for found in client.runs()]
        with pytest.raises(Forbidden, match="no code that comes with a pipeline"):
            client.submit({"name": "x", "tasks": [{"name": "t", "source": "def inference(ctx): return 1"}]})
    with closing(po.connect(on="shared", group="red")) as client, pytest.raises(NotFound):
        client.run(run.id)


def test_a_service_that_cannot_be_known_is_said(environ: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PO_HUB_URL", "https://hub.example/services/po")
    with pytest.raises(InvalidInput, match="two hubs"):
        po.connect(on="shared")
    monkeypatch.delenv("PO_HUB_RUNS_URL")
    monkeypatch.setenv("PO_HUB_URL", "http://127.0.0.1:9/hub/services/po")
    assert po.connect(on="shared").url == "http://127.0.0.1:9/hub/services/po-runs"
    monkeypatch.delenv("PO_HUB_TOKEN")
    with pytest.raises(Unavailable, match="no token of the hub"):
        po.connect(on="shared")
    monkeypatch.delenv("PO_HUB_URL")
    with pytest.raises(Unavailable, match="no service of shared runs is known"):
        po.connect(on="shared")
    with pytest.raises(InvalidInput, match="no group of the hub"):
        po.connect(on="shared", group="red\nX-Admin: 1")


def test_a_program_without_a_hub_or_a_gateway_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("JUPYTERHUB_API_TOKEN", "JUPYTERHUB_SERVICE_NAME", "PO_HUB_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main(["--data-dir", str(tmp_path / "data")]) == 1
    assert "JUPYTERHUB_API_TOKEN" in capfd.readouterr().err
    tokens = tmp_path / "tokens.json"
    tokens.write_text("{}")
    assert main(["--data-dir", str(tmp_path / "data"), "--tokens", str(tokens)]) == 1
    assert "PO_HUB_URL" in capfd.readouterr().err
