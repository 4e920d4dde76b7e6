"""The headless orchestrator opens nothing but its API, and that to its user only."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from po_jupyter import config
from po_jupyter.client import headless as background
from po_jupyter.platform import processes
from tests.security.test_open_doors import doors, open_doors
from tests.support.paths import ROOT
from tests.support.start_mode import inherited_environment

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def headless(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[config.Settings, background.HeadlessProcess]]:
    folder = tmp_path_factory.mktemp("headless")
    (folder / "config").mkdir()
    # What a user may have for a server that others use too; none of it is for this one.
    (folder / "config" / "jupyter_server_config.py").write_text(
        "c.ServerApp.ip = '0.0.0.0'\nc.IdentityProvider.token = ''\nc.ServerApp.allow_origin = '*'\n"
    )
    environ = {
        **inherited_environment("PO_", "JUPYTER"),
        "PO_DATA_DIR": str(folder / "data"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_TOKEN": "from-the-environment",
        "PO_MAX_WRONG_TOKENS": "1000000",  # the walk of all doors tries a wrong one at each
    }
    settings = config.load(environ)
    running = background.start(settings, environ)
    yield settings, running
    process = psutil.Process(running.pid)
    process.terminate()
    process.wait(15)
    assert not processes.started_at(running.pid, None)


def test_it_refuses_the_anonymous_everywhere(
    headless: tuple[config.Settings, background.HeadlessProcess],
) -> None:
    """P5."""
    assert open_doors(headless[1].endpoint.url, doors()) == []


def test_it_has_neither_kernels_nor_files(headless: tuple[config.Settings, background.HeadlessProcess]) -> None:
    """Nothing of a Jupyter server but what the API needs."""
    endpoint = headless[1].endpoint
    headers = {"Authorization": f"token {endpoint.token}"}
    with httpx.Client(base_url=endpoint.url, headers=headers, trust_env=False) as http:
        for path in ("api/kernels", "api/contents", "files/x", "api/terminals", "api/sessions", "tree", "lab"):
            assert http.get(path).status_code == 404, path
    with httpx.Client(base_url=endpoint.url, trust_env=False) as stranger:
        for token in ("from-the-environment", "none"):
            refused = stranger.get("po/api/v1/health", headers={"Authorization": f"token {token}"})
            assert refused.status_code in (401, 403)


def test_it_listens_on_loopback_alone_and_writes_for_its_user_alone(
    headless: tuple[config.Settings, background.HeadlessProcess],
) -> None:
    """DESIGN section 5: on loopback with its own token, whatever the user's Jupyter configuration says."""
    settings, running = headless
    listening = {
        c.laddr.ip for c in psutil.Process(running.pid).net_connections("inet") if c.status == "LISTEN"
    }
    assert listening == {"127.0.0.1"}
    assert len(running.endpoint.token) >= 32
    for path in [settings.data_dir, *settings.data_dir.rglob("*")]:
        if path.is_socket() or path.is_symlink():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, f"{path}: {mode:o}"


def test_a_second_one_says_that_there_is_one(
    headless: tuple[config.Settings, background.HeadlessProcess], tmp_path: Path
) -> None:
    """P11: `python -m po_jupyter.server` by hand does not take the first one's place."""
    settings, running = headless
    env = {**os.environ, "PO_DATA_DIR": str(settings.data_dir), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "po_jupyter.server"],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert str(running.pid) in done.stderr
    assert background.running(settings) == running
