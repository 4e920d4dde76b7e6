"""The child of an examiner, spoken to over its socket: an answer for each connection, and limits that hold."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from po_jupyter.config import Settings
from po_jupyter.orchestrator.examination.child import CPU_SECONDS, MEMORY_BYTES

pytestmark = pytest.mark.integration


class Child:
    """The program itself, without the examiner that speaks for it."""

    def __init__(self, data_dir: Path) -> None:
        self.control, there = socket.socketpair()
        with there:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "po_jupyter.orchestrator.examination.child", str(there.fileno())],
                pass_fds=[there.fileno()], stderr=subprocess.PIPE,
            )  # fmt: skip
        settings = Settings(data_dir=data_dir).model_dump_json().encode()
        self.control.sendall(len(settings).to_bytes(4, "big") + settings)

    def connect(self) -> socket.socket:
        here, there = socket.socketpair()
        with there:
            socket.send_fds(self.control, [b"x"], [there.fileno()])
        return here

    def examine(self, request: bytes) -> Any:
        with self.connect() as here:
            here.settimeout(60)
            here.sendall(request)
            here.shutdown(socket.SHUT_WR)
            with here.makefile("rb") as file:
                answer = file.read()
        return json.loads(answer) if answer else None

    def close(self) -> int:
        self.control.close()
        with self.process:
            return self.process.wait(10)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    child = Child(tmp_path)
    yield child
    child.close()


def parse(definition: Any) -> bytes:
    return json.dumps({"what": "parse", "definition": definition}).encode()


GOOD = parse({"name": "p", "tasks": [{"name": "a", "prompt": "x", "llm": "fake:echo"}]})


def test_each_connection_has_its_answer(child: Child) -> None:
    assert child.examine(GOOD)["value"]["name"] == "p"
    wrong = child.examine(parse({"name": "p", "tasks": [{"nme": "a"}]}))["error"]
    assert "nme" in json.dumps(wrong)
    assert child.examine(GOOD)["value"]["name"] == "p"


def test_what_is_no_request_has_no_answer_and_ends_nothing(child: Child) -> None:
    assert child.examine(b"no json") is None
    assert child.examine(b"") is None
    assert child.examine(GOOD)["value"]["name"] == "p"


def test_a_fork_has_its_limits_from_the_system(child: Child) -> None:
    with child.connect() as here:  # its fork waits for the request
        forked = psutil.Process(child.process.pid)
        while not (forks := forked.children()):
            pass
        limits = forks[0]
        while limits.rlimit(psutil.RLIMIT_CPU)[0] != CPU_SECONDS:
            pass
        assert limits.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        while limits.rlimit(psutil.RLIMIT_AS)[0] < 0:
            pass
        assert MEMORY_BYTES < limits.rlimit(psutil.RLIMIT_AS)[0] < 2 * MEMORY_BYTES
        here.shutdown(socket.SHUT_WR)
        with here.makefile("rb") as file:
            assert file.read() == b""


def test_it_ends_with_its_parents_end_of_the_socket_and_not_by_ctrl_c(tmp_path: Path) -> None:
    child = Child(tmp_path)
    assert child.examine(GOOD)
    child.process.send_signal(signal.SIGINT)
    assert child.examine(GOOD)
    assert child.close() == 0
