"""Done-when 5: a run of another environment's kernel uses that Python, its packages and its directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import SpawnFailed, VersionMismatch
from tests.support.orchestrator import (
    ROOT,
    body,
    orchestrator,
    processes_of,
    task,
    wait_for_state,
    wait_for_task_state,
)

pytestmark = pytest.mark.integration


def make_venv(folder: Path, *paths: str | Path) -> str:
    """A virtual environment that sees `paths`; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (folder / "lib" / version / "site-packages" / "paths.pth").write_text("\n".join(map(str, paths)) + "\n")
    return str(folder / "bin" / "python")


@pytest.fixture
def other(tmp_path: Path) -> str:
    """An environment with po_jupyter and a module that only it has."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "only_there.py").write_text("ANSWER = 42\n")
    return make_venv(tmp_path / "venv", sysconfig.get_path("purelib"), ROOT, modules)


def importing() -> dict[str, Any]:
    return {
        "name": "look",
        "source": (
            "import os, sys\n"
            "def ingestion(ctx):\n"
            "    import only_there, beside\n"
            "    return [only_there.ANSWER, sys.executable, os.getcwd(), beside.X, dict(os.environ)]\n"
        ),
        "retry": {"max_attempts": 1},
    }


async def test_a_run_uses_the_packages_and_the_directory_of_its_interpreter(
    tmp_path: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Done-when 5, and P10: of the server's environment only what is allowed arrives."""
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret-of-the-hub")
    monkeypatch.setenv("PO_AUTH_TOKEN", "secret-of-the-door")
    monkeypatch.setenv("DEEPSEEK_API_KEY", "a-key-of-mine")
    monkeypatch.setenv("MY_SETTING", "mine")
    cwd = tmp_path / "notebooks"
    cwd.mkdir()
    (cwd / "beside.py").write_text("X = 'beside the notebook'\n")
    async with orchestrator(tmp_path / "data", worker_env=("MY_SETTING",)) as service:
        view, _ = await service.submissions.submit(
            body(importing(), interpreter=other, cwd=str(cwd)), owner="local"
        )
        view = await wait_for_state(service, view.id)
        assert view.state == "done", view.error
        answer, executable, where, beside, environ = (await service.results.outputs(view.id, None))["look"]
        assert (answer, beside) == (42, "beside the notebook")
        assert executable == other
        assert os.path.samefile(where, cwd)
        assert "DEEPSEEK_API_KEY" not in environ, "a key is no variable of a worker"
        assert environ["MY_SETTING"] == "mine"
        assert "JUPYTERHUB_API_TOKEN" not in environ
        assert "PO_AUTH_TOKEN" not in environ

        view, _ = await service.submissions.submit(body(importing(), cwd=str(cwd)), owner="local")
        view = await wait_for_state(service, view.id)
        assert view.state == "failed", "our own interpreter does not have it"


async def test_an_interpreter_without_po_jupyter_is_refused_at_submit(tmp_path: Path) -> None:
    """DESIGN 5: with the command that helps; nothing was started or stored."""
    bare = make_venv(tmp_path / "venv")
    async with orchestrator(tmp_path / "data") as service:
        with pytest.raises(VersionMismatch, match="has no po_jupyter") as raised:
            await service.submissions.submit(body(task("one"), interpreter=bare), owner="local")
        assert raised.value.hint.startswith(f"{bare} -m pip install po_jupyter==")
        assert (await service.runs.page(None))[0] == []


async def test_another_version_of_po_jupyter_is_refused_at_submit(tmp_path: Path) -> None:
    """DESIGN 5."""
    package = tmp_path / "old" / "po_jupyter" / "orchestrator"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("__version__ = '0.0.1'\n")
    (package / "__init__.py").touch()
    (package / "zygote.py").write_text(
        "import json, os, sys\n"
        "said = json.dumps({'op': 'hello', 'version': '0.0.1', 'protocol': 1})\n"
        "os.write(int(sys.argv[1]), said.encode() + b'\\n')\n"
    )
    old = make_venv(tmp_path / "venv", package.parents[1])
    async with orchestrator(tmp_path / "data") as service:
        with pytest.raises(VersionMismatch, match=r"has po_jupyter 0\.0\.1"):
            await service.submissions.submit(body(task("one"), interpreter=old), owner="local")


async def test_a_worker_that_cannot_be_started_ends_the_run_as_dead(tmp_path: Path, other: str) -> None:
    """R1.2: spawn failures are retried, then the run is dead with the reason; it can be resumed."""
    async with orchestrator(tmp_path / "data", max_running=1, spawn_attempts=2) as service:
        first, _ = await service.submissions.submit(body(task("one", seconds=30)), owner="local")
        await wait_for_task_state(service, first.id, "one")
        view, _ = await service.submissions.submit(body(task("one"), interpreter=other), owner="local")
        zygote = service.zygotes._running[other].pid
        Path(other).rename(other + ".gone")
        os.kill(zygote, signal.SIGKILL)
        await service.control.cancel(first.id, None)
        view = await wait_for_state(service, view.id)
        assert view.state == "dead"
        assert view.error is not None
        assert view.error["code"] in ("spawn_failed", "invalid_input")
        Path(other + ".gone").rename(other)
        await service.control.resume(view.id, None)
        assert (await wait_for_state(service, view.id)).state == "done"
    assert not processes_of(tmp_path)


async def test_a_broken_interpreter_says_its_last_words(tmp_path: Path) -> None:
    """P11."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'cannot load libmagic' >&2\nexit 3\n")
    broken.chmod(0o755)
    async with orchestrator(tmp_path / "data") as service:
        with pytest.raises(SpawnFailed, match="cannot load libmagic"):
            await service.submissions.submit(body(task("one"), interpreter=str(broken)), owner="local")
