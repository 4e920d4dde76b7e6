"""Crash points: off unless a test asks, and then as `kill -9` (R2.3)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import timeit
from pathlib import Path

import pytest

import po_jupyter
from po_jupyter.platform import crashpoints
from po_jupyter.platform.crashpoints import arm_from, crashpoint, disarm, passing

PACKAGE = Path(po_jupyter.__file__).parent


def died(code: str, **environ: str) -> int:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environ}
    return subprocess.run([sys.executable, "-c", code], env=environment, timeout=30, check=False).returncode


CODE = "from po_jupyter.platform.crashpoints import crashpoint as c; c('a'); c('b'); c('a'); c('a')"
KILLED = -signal.SIGKILL if sys.platform != "win32" else crashpoints.STATUS


@pytest.mark.parametrize(
    ("point", "status"), [("a:1", KILLED), ("a:3", KILLED), ("b:2", 0), ("*:4", KILLED), ("*:5", 0)]
)
@pytest.mark.integration
def test_the_environment_arms_the_nth_passing(point: str, status: int) -> None:
    assert died(CODE, PO_TESTING="1", PO_CRASHPOINT=point) == status


@pytest.mark.integration
def test_nothing_is_armed_outside_of_tests() -> None:
    assert died(CODE, PO_TESTING="", PO_CRASHPOINT="a:1") == 0
    assert not crashpoints.armed


@pytest.mark.parametrize("said", ["a", "a:", ":1", "a:x", "a:0"])
def test_what_is_not_a_point_is_said(said: str) -> None:
    """P11."""
    with pytest.raises(ValueError, match=r"NAME:K|counted from 1"):
        arm_from({"PO_TESTING": "1", "PO_CRASHPOINT": said})
    disarm()


def test_passing_counts_and_lets_live() -> None:
    with passing() as names:
        crashpoint("a")
        crashpoint("b")
    crashpoint("c")
    assert names == ["a", "b"]
    assert not crashpoints.armed


def test_a_point_that_is_not_armed_costs_next_to_nothing() -> None:
    """Less than a microsecond, where a commit costs a thousand."""
    assert min(timeit.repeat(lambda: crashpoint("x"), number=10_000, repeat=5)) / 10_000 < 1e-6


def test_every_commit_and_rename_has_its_points() -> None:
    """Issue 2: whoever renames in the product does it through `store.files`, which has them."""
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if "ui" not in path.parts and "testing" not in path.parts
        for line in path.read_text().splitlines()
        if re.search(r"os\.(replace|rename|renames)\(|shutil\.move\(|\.transact\(", line)
    ]
    # `blobs` and `seed_folder` name their points themselves. The others rename what is no state of a run: an address,
    # where a server is, weights, the log that is full, what a stage prints, a file for a person, tokens,
    # backups, what a shell reads at its start. The cache of answers may lose everything, and the index of
    # heads is made of what they say.
    allowed = (
        *(
            "store/files/tree.py",
            "store/disk/store.py",
            "store/files/row_files.py",
            "orchestrator/inbox/folder.py",
        ),
        *("platform/sockets.py", "server/", "llm/local/weights.py", "orchestrator/events/audit_log.py"),
        *(
            "cli/verbs/completion.py",
            "client/client.py",
            "platform/private_file.py",
            "orchestrator/maintenance/",
        ),
        *("engine/stage_logs/live_file.py", "store/disk/call_cache.py", "store/disk/head_index.py"),
    )
    assert [line for line in found if not line.startswith(allowed)] == []
