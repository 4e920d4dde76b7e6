"""The process of an agent: read line by line, and gone with all that it started, however it ends."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.providers.cli_agents import process
from po_jupyter.llm.providers.cli_agents.process import run_agent

pytestmark = pytest.mark.integration


class Agent:
    """Runs Python as an agent; `lines` are what it wrote to stdout."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.lines: list[bytes] = []

    async def run(self, code: str, prompt: str = "", seconds: float = 60.0, **more: Any) -> tuple[int, str]:
        command = [sys.executable, "-c", f"import os, signal, subprocess, sys, time\n{code}"]
        environ = {"HOME": str(self.tmp), "PYTHONIOENCODING": "utf-8"}
        return await run_agent(
            more.get("command", command), prompt, self.lines.append, name="stub", directory=str(self.tmp),
            environ=environ, seconds=seconds,
        )  # fmt: skip

    def processes(self) -> list[psutil.Process]:
        """Those with our HOME, the agent's children too."""
        found = []
        for each in psutil.process_iter(["environ"]):
            if (each.info["environ"] or {}).get("HOME") == str(self.tmp):
                found.append(each)
        return found

    async def started(self) -> None:
        async with asyncio.timeout(30):
            while not (self.tmp / "started").exists():
                await asyncio.sleep(0.02)


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


async def test_it_gets_the_prompt_and_its_lines_come_whole(agent: Agent) -> None:
    """Lines longer than a pipe holds, and the last one without its end."""
    code = "text = sys.stdin.read()\nsys.stdout.write(text + '\\n' + 'x' * 300_000 + '\\n\\nlast')\nsys.exit(3)"
    assert await agent.run(code, "é" * 200_000) == (3, "")
    assert agent.lines == ["é".encode() * 200_000, b"x" * 300_000, b"", b"last"]


async def test_only_the_beginning_of_its_complaints_is_kept(agent: Agent) -> None:
    """All of it is read, or an agent that complains much would wait for ever."""
    status, complaint = await agent.run("sys.stderr.write('a' + 'b' * 500_000)")
    assert (status, len(complaint), complaint[:2]) == (0, 64 * 1024, "ab")


async def test_an_agent_that_does_not_read_its_prompt_is_no_fault(agent: Agent) -> None:
    assert await agent.run("os.close(0)\nprint('done')", "x" * 1_000_000) == (0, "")
    assert agent.lines == [b"done"]


async def test_a_program_that_cannot_be_started_is_told(agent: Agent) -> None:
    with pytest.raises(ModelRefused, match="stub cannot be started: No such file"):
        await agent.run("", command=["/nonexistent/program"])


async def test_an_agent_that_writes_without_end_is_ended(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MAX_ANSWER", 100_000)
    with pytest.raises(ModelRefused, match="wrote more than"):
        await agent.run("while True: sys.stdout.write('x' * 65536)")
    assert agent.processes() == []


STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
open('started', 'w').close()
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_an_agent_that_hangs_is_ended_with_all_that_it_started(
    agent: Agent, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that does not want to; what it was billed for, nobody knows."""
    monkeypatch.setattr(process, "_GRACE", 0.2)
    if how == "timeout":
        with pytest.raises(ModelUnavailable, match="no answer within 2 s") as caught:
            await agent.run(STUBBORN, seconds=2.0)
        assert caught.value.outcome == "unknown"
    else:
        task = asyncio.create_task(agent.run(STUBBORN))
        await agent.started()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    for each in agent.processes():
        each.wait(5)
    assert agent.processes() == []


async def test_what_an_agent_left_behind_ends_with_it(agent: Agent) -> None:
    """It ended well, and a helper of it goes on."""
    silent = "stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
    child = f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], {silent})"
    assert await agent.run(child) == (0, "")
    for each in agent.processes():
        each.wait(5)
    assert agent.processes() == []
