"""The fixtures of the pytest plugin, used as people use them: in a test file of their own, run by pytest."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import psutil
import pytest

from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.fake import FakeProvider
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import NewRun
from tests.support.paths import ROOT

PLUGIN = "po_jupyter.testing.pytest_plugin"
# One process, with warnings as errors and no configuration but its own.
ARGUMENTS = ("-p", "no:po_jupyter", "-p", "no:asyncio", "-p", "no:cacheprovider", "-W", "error", "-q")

SAMPLE = """
import os
from pathlib import Path

import po_jupyter as po


def test_an_orchestrator_with_a_model_server(po_orchestrator, po_model_server):
    po_model_server.enqueue("a bug")
    pipeline = {"name": "tickets", "tasks": [{"name": "label", "prompt": "Label: {{ seed.text }}"}]}
    run = po_orchestrator.submit(pipeline, {"text": "The button is gone"})
    run.wait(timeout=60)
    assert run.state == "done", run.error
    assert run.outputs["label"] == "a bug"
    (request,) = po_model_server.requests
    assert request.prompt == "Label: The button is gone"


def test_an_orchestrator_alone_echoes_for_nothing(po_orchestrator):
    assert "MINE_API_KEY" not in os.environ
    assert po.chat("hello").text == "echo: hello"
    assert po.connect(start=False).meta()["data_dir"] == os.environ["PO_DATA_DIR"]
    Path("pid").write_text(str(po_orchestrator.meta()["orchestrator"]["pid"]))


def test_a_store_and_a_provider(po_store, po_memory_store, po_fake_provider):
    assert po_store.get("a", "b") is None
    po_fake_provider.enqueue("one")
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "MINE_API_KEY": "secret"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *ARGUMENTS, "-p", PLUGIN, *arguments],
        cwd=folder, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=110,
    )  # fmt: skip


@pytest.mark.acceptance
def test_every_fixture_serves_a_test_file_of_somebody(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(SAMPLE)
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"test_mine.py", "pid"}


@pytest.mark.integration
def test_the_plugin_imports_nothing_of_the_package_but_itself(tmp_path: Path) -> None:
    """pytest imports it at its start, also where no test uses it."""
    (tmp_path / "test_mine.py").write_text(
        "import sys\n\ndef test_light():\n"
        "    found = {m for m in sys.modules if m.startswith('po_jupyter.')}\n"
        "    own = {m for m in found if not m.startswith('po_jupyter.client')}\n"
        "    assert own == {'po_jupyter.testing', 'po_jupyter.testing.pytest_plugin'}\n"
        "    # What gives frames their `po` comes with the package: two empty rooms and a module without imports.\n"
        "    assert 'po_jupyter.client.client' not in sys.modules and 'pandas' not in sys.modules\n"
    )
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout


def test_the_entry_point_names_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"po_jupyter": PLUGIN}
    points = importlib.metadata.entry_points(group="pytest11", name="po_jupyter")
    assert {point.value for point in points} <= {PLUGIN}  # none in an older editable installation


async def test_a_fake_provider_answers_what_was_enqueued_then_echoes(po_fake_provider: FakeProvider) -> None:
    po_fake_provider.enqueue("one", lambda request: request.messages[-1].content.upper())
    request = ChatRequest("fake:echo", (Message("user", "two"),))
    texts = [(await po_fake_provider.chat(request)).text for _ in range(3)]
    assert texts == ["one", "TWO", "echo: two"]
    assert po_fake_provider.requests == [request] * 3


def test_the_stores_are_empty_and_apart(
    po_store: DiskStore, po_memory_store: MemoryStore, tmp_path: Path
) -> None:
    for store in (po_store, po_memory_store):
        assert store.create_run(NewRun("00a1", "ada", "p", "1.0.0", "n", 0, {}, []))[1]
    assert po_store.path == tmp_path / "po-store"
