"""The zygote as its parent sees it: a socket, a greeting, forks and their ends. Real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from po_jupyter.config import Settings
from po_jupyter.ipc.exit_status import ExitStatus
from po_jupyter.ipc.messages import FROM_ZYGOTE, Spawn, WorkerExited, WorkerRequest, WorkerSpawned, ZygoteHello
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.worker.zygote import PROTOCOL, version
from tests.support.paths import ROOT
from tests.support.stored_runs import RUN, store_run

pytestmark = pytest.mark.integration


@contextmanager
def zygote(module: str) -> Iterator[tuple[socket.socket, BinaryIO]]:
    """The parent's end of a zygote, to write to and to read lines from; it must end when this end closes."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, str(theirs.fileno())],
        pass_fds=[theirs.fileno()], env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
    )  # fmt: skip
    theirs.close()
    ours.settimeout(60)
    lines = ours.makefile("rb")
    try:
        yield ours, lines
    finally:
        lines.close()
        ours.close()
        assert process.wait(20) == 0


def next_message(lines: BinaryIO) -> IpcMessage | None:
    return FROM_ZYGOTE.decode(lines.readline())


@pytest.mark.parametrize("module", ["po_jupyter.worker.zygote", "po_jupyter.orchestrator.zygote"])
def test_it_says_its_version_under_its_name_and_its_former_one(module: str) -> None:
    """An orchestrator of an older version, which knows the former name, can say "has version X"."""
    with zygote(module) as (_, lines):
        hello = next_message(lines)
    assert isinstance(hello, ZygoteHello)
    assert (hello.version, hello.protocol) == (version(), PROTOCOL)
    assert hello.python == sys.version.split()[0]


def test_it_forks_a_worker_and_tells_of_its_end(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "store", shards=1)
    store_run(store)
    log = tmp_path / "runs" / RUN / "worker.log"
    settings = Settings(data_dir=tmp_path).model_dump(mode="json", exclude={"auth_token", "log_remote_token"})
    with zygote("po_jupyter.worker.zygote") as (parent, lines):
        assert isinstance(next_message(lines), ZygoteHello)
        statuses = []
        for fence in (0, 7):  # the second one finds that the run was taken by somebody else
            request = WorkerRequest(
                run=RUN, expect=fence, address=str(tmp_path / "nobody"), watched=False, shards=1,
                settings=settings, cwd=None, log=str(log), env=dict(os.environ), log_token=None,
            )  # fmt: skip
            parent.sendall(Spawn(fence, request.to_json()).encode())
            spawned = next_message(lines)
            assert isinstance(spawned, WorkerSpawned) and spawned.id == fence
            exited = next_message(lines)
            assert isinstance(exited, WorkerExited) and exited.pid == spawned.pid
            statuses.append(exited.status)
    assert statuses == [ExitStatus.ORDERLY, ExitStatus.OVERTAKEN], log.read_text()
    assert store.head(RUN)["state"] == "done"
    store.close()
