"""The unit tier is what it says: its guard fails what starts a process or opens a socket."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT, TESTS
from tests.support.tiers import FIXTURES, FOLDERS, NotAUnitTest, UnitGuard, is_above_unit

CONFTEST = """
from tests.support.tiers import TierPlugin

def pytest_configure(config):
    for tier in ("unit", "integration", "acceptance"):
        config.addinivalue_line("markers", tier)
    config.pluginmanager.register(TierPlugin())
"""
SAMPLE = """
import asyncio, os, socket, subprocess, sys, threading
import pytest

def test_bad_process():
    subprocess.run([sys.executable, "-c", ""])

def test_bad_fork():
    if os.fork() == 0:
        os._exit(0)

def test_bad_swallowed():
    try:
        subprocess.run([sys.executable, "-c", ""])
    except BaseException:
        pass

def test_bad_bind():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))

def test_bad_connect_in_a_thread():
    def connect():
        try:
            socket.create_connection(("127.0.0.1", 9), 1)
        except BaseException:
            pass
    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()

@pytest.fixture
def server():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        yield

def test_bad_fixture(server):
    pass

def test_good_loop():
    asyncio.run(asyncio.sleep(0))
    for end in socket.socketpair():
        end.close()

@pytest.mark.integration
def test_good_process_of_a_higher_tier():
    subprocess.run([sys.executable, "-c", ""], check=True)
"""


@pytest.mark.integration
def test_a_unit_test_that_starts_something_fails_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:po_jupyter", "-p", "no:asyncio", "-p", "no:cacheprovider",
         "-q", "-rA", "--tb=line"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, timeout=100,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines = [
        line.partition(" - ")[0].split() for line in done.stdout.splitlines() if "test_sample.py::" in line
    ]
    outcomes = {(words[0], words[1].rpartition("::")[2]) for words in lines if words[0].isupper()}
    bad = {name for outcome, name in outcomes if outcome in ("FAILED", "ERROR")}
    assert bad == {
        line[4:].partition("(")[0] for line in SAMPLE.splitlines() if line.startswith("def test_bad")
    }
    assert "a unit test starts a process (os.fork )" in done.stdout
    assert "mark it `integration` or `acceptance`" in done.stdout
    assert {name for outcome, name in outcomes if outcome == "PASSED"} >= {
        "test_good_loop", "test_good_process_of_a_higher_tier",
    }  # fmt: skip


@pytest.mark.integration
def test_the_guard_watches_only_while_it_is_told_to() -> None:
    guard = UnitGuard()
    guard.begin()
    try:
        with pytest.raises(NotAUnitTest):
            subprocess.run([sys.executable, "-c", ""], check=True)
        with pytest.raises(NotAUnitTest):
            guard.check()
    finally:
        guard.end()
    subprocess.run([sys.executable, "-c", ""], check=True)


def test_this_very_test_is_watched(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("unit")
    assert request.config.pluginmanager.get_plugin("po-tiers").guard._active


def test_the_lists_name_what_exists() -> None:
    assert [name for name in FOLDERS if not (TESTS / name).exists()] == []
    text = "\n".join(
        path.read_text("utf-8")
        for folder in (TESTS, ROOT / "po_jupyter" / "testing")
        for path in folder.rglob("*.py")
    )
    assert [name for name in FIXTURES if f"def {name}(" not in text] == []


def test_a_module_of_a_higher_tier_is_known_without_importing_it() -> None:
    assert is_above_unit(TESTS / "ui")
    assert is_above_unit(TESTS / "testing" / "test_model_server.py")
    assert not is_above_unit(TESTS)
    assert not is_above_unit(Path(__file__))
