"""The guard of processes fails the module that leaves one behind, and names the test that started it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.integration

CONFTEST = """
from tests.support.process_guard import ProcessGuard

def pytest_configure(config):
    guard = ProcessGuard()
    config.pluginmanager.register(guard)
    config.add_cleanup(guard.install())
"""
LEAVES = """
import subprocess, sys, pytest

def start():
    return subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])

KEPT = []

def test_that_starts():
    KEPT.append(start())

def test_that_ends():
    process = start()
    process.kill()
    process.wait()
"""
CLEAN = """
import subprocess, sys, pytest

def start():
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()

module = pytest.fixture(scope="module", name="module")(start)
session = pytest.fixture(scope="session", name="session")(start)

def test_with_fixtures(module, session):
    pass

def test_after_it(module):
    pass
"""


def test_a_process_that_is_left_behind_fails_the_module_that_left_it(tmp_path: Path) -> None:
    """And those of fixtures, of a module or the session, do not."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_clean.py").write_text(CLEAN)
    (tmp_path / "test_leaves.py").write_text(LEAVES)
    (tmp_path / "test_more.py").write_text("def test_another_module():\n    pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:po_jupyter", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "5 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "ERROR at teardown of test_that_ends" in done.stdout
    assert "test_leaves.py::test_that_starts" in done.stdout
