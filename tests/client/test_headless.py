"""The headless orchestrator: started once, found again, followed after its end."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from po_jupyter import config
from po_jupyter.client import discovery, headless
from po_jupyter.client.client import Client
from po_jupyter.errors import Unavailable
from po_jupyter.orchestrator.workers import spawned_workers
from tests.support.headless import stop_process

pytestmark = pytest.mark.acceptance


@pytest.fixture
def started(environ: dict[str, str]) -> Iterator[headless.HeadlessProcess]:
    """A headless orchestrator of this test's own, ended with it."""
    running = headless.start()
    yield running
    stop_process(running.pid)


def test_a_server_has_as_long_to_start_as_a_worker() -> None:
    """It imports more than one, from the same slow disk, and is ended in the middle of that when it takes longer."""
    assert headless.START_DEADLINE >= spawned_workers._START_TIMEOUT


def test_the_headless_one_is_started_once_and_found_again(environ: dict[str, str]) -> None:
    """4: two clients that start at once get the same; its file is the user's alone; SIGTERM ends it."""
    found: list[discovery.Discovered] = []
    threads = [threading.Thread(target=lambda: found.append(discovery.find())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.endpoint for one in found}) == 1
    settings = config.load()
    running = headless.running(settings)
    assert running is not None
    try:
        folder = headless.runtime_dir(settings)
        assert stat.S_IMODE((folder / "headless.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert running.endpoint.token not in " ".join(psutil.Process(running.pid).cmdline())
        assert os.getsid(running.pid) != os.getsid(0)  # the end of this terminal is not its end
        client = discovery.connect(start=False)
        assert client.meta()["data_dir"] == str(settings.data_dir)
        assert client.ready()["ready"]
        client.close()
    finally:
        stop_process(running.pid)
    assert headless.running(settings) is None
    assert not (folder / "headless.json").exists()
    assert running.endpoint.token not in (folder / "headless.log").read_text()


def test_a_stale_file_is_no_orchestrator(environ: dict[str, str], started: headless.HeadlessProcess) -> None:
    """After kill -9 the file is still there; the next client starts a new one, and a held client follows."""
    client = discovery.connect()
    assert client.health() == {"status": "ok"}
    psutil.Process(started.pid).kill()
    while headless.is_alive(started):
        time.sleep(0.01)
    again = headless.start()
    try:
        assert again.pid != started.pid
        assert client.health() == {"status": "ok"}
        assert client.url == again.endpoint.url
        client.close()
    finally:
        stop_process(again.pid)


def test_one_that_cannot_start_says_why(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """P11: the end of its log, and where it is."""
    with pytest.raises(Unavailable) as caught:
        headless.start(config.load(), {**environ, "PO_MAX_RUNNING": "many"})
    assert "PO_MAX_RUNNING" in str(caught.value)
    assert "headless.log" in caught.value.hint


def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path, environ: dict[str, str]) -> None:
    """P11."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="no orchestrator can be started"):
        headless.start(config.load({**environ, "PO_DATA_DIR": str(tmp_path / "file" / "data")}))


def test_a_run_outlives_the_program_that_started_it(
    environ: dict[str, str], started: headless.HeadlessProcess
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
