"""The command line against a real orchestrator, started by it, with a real HTTP server for a model."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.paths import ROOT

pytestmark = pytest.mark.acceptance

SLOW = """\
name: slow
tasks:
  - name: first
    prompt: "one {{ seed.x | default('x') }}"
    llm: {model: "fake:echo?latency=0.3"}
    cache: false  # slow every time
  - name: second
    prompt: "The answer to {{ seed.x | default('x') }} is a long one: {{ 'very ' * 40 }}long"
    llm: {model: "fake:echo?latency=3"}
    cache: false
"""
HELD = """\
name: held
tasks:
  - {name: first, prompt: "one", llm: "fake:echo"}
  - {name: second, prompt: "two", llm: "openai:any-model"}
"""
GATED = """\
name: gated
tasks:
  - {name: draft, prompt: "draft", llm: "fake:echo", gate: {message: Look before we send}}
  - {name: send, prompt: "send {{ tasks.draft }}", llm: "fake:echo"}
"""
BROKEN = """\
name: broken
tasks:
  - name: works
    source: |
      def ingestion(ctx):
          return 1
  - name: breaks
    retry: {max_attempts: 1}
    source: |
      def ingestion(ctx):
          raise ValueError("no luck \\x1b[31mtoday")
"""


class Terminal:
    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.home = home
        self.environ = {**os.environ, "PO_DATA_DIR": str(home / "data"), **environ}
        for name in list(self.environ):
            if name.startswith(("JPY_", "JUPYTERHUB_", "PO_JUPYTER")):
                del self.environ[name]
        self.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), self.environ.get("PYTHONPATH")]))

    def popen(self, *args: str, **options: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "po_jupyter", *args],
            stdout=options.get("stdout", subprocess.PIPE),
            stderr=options.get("stderr", subprocess.PIPE),
            env=self.environ,
            cwd=self.home,
            text=True,
        )

    def __call__(self, *args: str, code: int | None = 0) -> str:
        process = self.popen(*args)
        out, err = process.communicate(timeout=60)
        if code is not None:
            assert process.returncode == code, f"{args}: exit {process.returncode}\n{out}\n{err}"
        return out + err

    def json(self, *args: str, code: int | None = 0) -> object:
        process = self.popen(*args, "--json")
        out, err = process.communicate(timeout=60)
        assert code is None or process.returncode == code, f"{args}: {process.returncode}\n{out}\n{err}"
        return json.loads(out)


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def sh(tmp_path_factory: pytest.TempPathFactory, model: ModelServer) -> Iterator[Terminal]:
    """A terminal with a data directory of its own; what it starts is stopped at the end."""
    home = tmp_path_factory.mktemp("home")
    for name, text in (("slow", SLOW), ("gated", GATED), ("broken", BROKEN)):
        (home / f"{name}.yaml").write_text(text)
    terminal = Terminal(home, {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.key})
    assert "no orchestrator is running" in terminal("runs", code=3), "verbs that read start none"
    assert "started" in terminal("start")
    yield terminal
    terminal("stop")


def last(out: str) -> str:
    found = re.findall(r"run ([0-9a-f]{6})\b", out)
    assert found, out
    return str(found[-1])


def test_a_run_from_file_to_result_and_back_again(sh: Terminal) -> None:
    """The main path: run, show, status, logs, runs, outputs."""
    out = sh("run", "slow.yaml", "--seed", '{"x": "life"}', "--model", "fake:echo")
    assert "first done" in out
    assert "second done" in out
    assert "is a long one" in out
    run = last(out)
    assert "second" in sh("show", run)
    assert json.loads(sh("show", run, "--output", "first")) == "echo: one life"
    assert "run.done" in sh("logs", run)
    assert run in sh("runs", "--state", "done")
    assert "done" in sh("status", run)
    status = sh.json("status")
    assert isinstance(status, dict)
    assert status["ready"]["ready"] is True


def test_start_again_finds_the_one_that_runs(sh: Terminal) -> None:
    first, second = sh.json("start"), sh.json("start")
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["pid"] == second["pid"]
    assert second["started"] is False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_detaches_and_the_run_goes_on(sh: Terminal, number: int, code: int) -> None:
    """R1.4, P12."""
    process = sh.popen("run", "slow.yaml")
    assert process.stdout is not None
    seen = ""
    while "second started" not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    run = last(seen)
    assert process.returncode == code
    assert f"detached; the run goes on: po show {run}" in err
    assert "Traceback" not in err
    assert re.search("second +done", sh("show", run)), "show follows it to its end, or shows it"
    assert "done" in sh("status", run)


def test_a_failed_run_says_where_and_what_to_do(sh: Terminal) -> None:
    out = sh("run", "broken.yaml", code=1)
    assert "breaks failed" in out
    assert "ValueError: no luck" in out
    assert "\x1b" not in out, "what user code and models write cannot drive the terminal"
    run = last(out)
    assert f"po resume {run}" in out
    assert "no luck" in sh("show", run, "--failed", code=None)
    assert "attempt 2" in sh("resume", run, code=1)


def test_a_gate_stops_following_and_is_decided(sh: Terminal) -> None:
    """Exit code 4: the run waits for a decision."""
    out = sh("run", "gated.yaml", code=4)
    assert "Look before we send" in out
    run = last(out)
    assert "send done" in sh("approve", run, "--note", "fine")
    assert "error:" in sh("approve", run, code=1), "decided once"
    refused = last(sh("run", "gated.yaml", code=4))
    sh("reject", refused, "--note", "not like this")
    out = sh("show", refused, code=1)
    assert "cancelled" in out
    assert "not like this" in out


def test_cancel_keeps_what_is_finished_and_resume_goes_on(sh: Terminal, model: ModelServer) -> None:
    """P12."""
    (sh.home / "held.yaml").write_text(HELD)
    before = len(model.requests)
    model.hold()
    try:
        run = last(sh("run", "held.yaml", "--no-follow"))
        model.wait_for(before + 1, timeout=30)
        sh("cancel", run)
        out = sh("show", run, code=1)
    finally:
        model.release()
    assert "cancelled" in out
    assert re.search(r"first +done", out) or "first done" in out
    assert "second done" in sh("resume", run)


def test_a_wrong_pipeline_starts_nothing(sh: Terminal) -> None:
    """P11, done-when 8: one clear message with its place."""
    before = sh.json("runs")
    (sh.home / "wrong.yaml").write_text(
        "name: wrong\ntasks:\n  - name: a\n    prompt: |\n      Hello\n      {{ sed.x }}\n"
        "    llm: openia:gpt-5\n"
    )
    out = sh("run", "wrong.yaml", code=2)
    assert "line 6: task 'a': prompt: `sed` is not defined" in out, "the line of the file"
    assert "line 7: " in out
    assert "did you mean `openai`?" in out
    assert sh.json("runs") == before
    assert "error:" in sh("validate", "wrong.yaml", code=2)


def test_the_demo_ends_with_a_table(sh: Terminal, model: ModelServer) -> None:
    """The demo over a real HTTP model: outcomes, tokens, seconds, where to look next."""
    model.reply = json.dumps({"purpose": "Checking that it works", "topic": "data"})
    out = sh("demo", "--model", "openai:any-model", "--rows", "3")
    assert out.count("Checking that it works") >= 3
    assert "3 of 3 rows done" in out
    assert "tokens" in out
    assert f"po show {last(out)}" in out
    data = sh.json("demo", "--model", "openai:any-model", "--rows", "2")
    assert isinstance(data, dict)
    assert [item["ok"] for item in data["items"]] == [True, True]


def test_a_demo_without_one_good_row_fails(sh: Terminal, model: ModelServer) -> None:
    """Exit 0 only for a run that is done with at least one row."""
    model.reply = "I would rather not."
    out = sh("demo", "--model", "openai:contrary-model", "--rows", "1", code=1)
    assert "failed" in out


def test_in_a_terminal_the_view_is_drawn_in_place_with_the_text(sh: Terminal) -> None:
    """G11: streamed text is seen while it comes."""
    master, slave = pty.openpty()
    sh.environ["TERM"] = "xterm-256color"
    sh.environ["COLUMNS"] = "110"
    process = sh.popen("run", "slow.yaml", stdout=slave, stderr=slave)
    os.close(slave)
    seen = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.5)[0]:
            try:
                seen += os.read(master, 65536)
            except OSError:  # the other end was closed: how a pty says EOF
                break
    process.wait(10)
    os.close(master)
    text = seen.decode("utf-8", "replace")
    assert process.returncode == 0
    assert "second │" in text or "second \x1b[0m│" in text or "│ The answer" in text
    assert "\x1b[" in text
    assert "▸" in text
    assert "✓" in text


def test_stop_ends_the_orchestrator_and_leaves_no_process(sh: Terminal) -> None:
    """A graceful stop: unfinished runs go on at the next start."""
    run = last(sh("run", "slow.yaml", "--no-follow"))
    started = sh.json("start")
    assert isinstance(started, dict)
    family = psutil.Process(started["pid"]).children(recursive=True)
    assert "stopped" in sh("stop")
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert "no background orchestrator" in sh("stop")
    sh("start")
    assert "second done" in sh("show", run) or "done" in sh("status", run)
