"""The program: starts without a hub, takes its limits anew at a signal, and ends with its calls."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.hub import KEY, write_config
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration


@contextmanager
def program(folder: Path, *options: str, **environ: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps({"alice-token": {"name": "alice"}}))
    child = subprocess.Popen(
        [sys.executable, "-m", "po_jupyter.hub", "--config", "limits.yaml", "--tokens", "tokens.json", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        env={**os.environ, "TEAM_KEY": KEY, "PYTHONPATH": str(ROOT), **environ},
    )  # fmt: skip
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        yield child, json.loads(line)["url"] if line else ""
    finally:
        child.kill()
        child.communicate()


def usage(url: str) -> Any:
    request = urllib.request.Request(f"{url}/api/usage", headers={"Authorization": "Bearer alice-token"})
    with urllib.request.urlopen(request, timeout=10) as response:
        rows = json.load(response)["windows"]
    return next(r for r in rows if (r["scope"], r["window"], r["unit"]) == ("user:alice", "day", "usd"))


def call(url: str) -> None:
    body = {"model": "gpt-5-mini", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
    request = urllib.request.Request(
        f"{url}/openai/v1/chat/completions", json.dumps(body).encode(), {"Authorization": "Bearer alice-token"}
    )
    urllib.request.urlopen(request, timeout=10).close()


def test_it_serves_until_a_signal_and_keeps_what_was_used(tmp_path: Path) -> None:
    with ModelServer(key=KEY) as vendor:
        write_config(tmp_path, vendor.root_url)
        with program(tmp_path) as (child, url):
            call(url)
            assert usage(url)["limit"] is None
            write_config(tmp_path, vendor.root_url, limits={"each_user": {"usd_per_day": 5}})
            child.send_signal(signal.SIGHUP)
            until = time.monotonic() + 10
            while usage(url)["limit"] != 5:
                assert time.monotonic() < until
            child.send_signal(signal.SIGTERM)
            assert child.wait(20) == 0
            assert child.stderr is not None and KEY not in child.stderr.read()
        with program(tmp_path) as (_, url):
            assert usage(url)["used"] == pytest.approx(0.000021)


def test_killed_in_a_call_it_counts_that_in_full(tmp_path: Path) -> None:
    """The vendor has the call, and nobody knows what became of it."""
    with ModelServer(key=KEY) as vendor:
        write_config(tmp_path, vendor.root_url)
        vendor.hold()
        with program(tmp_path) as (child, url):
            thread = threading.Thread(target=lambda: _quietly(url))
            thread.start()
            vendor.wait_for(1)
            child.kill()
            child.wait()
            thread.join()
        with program(tmp_path) as (_, url):
            assert usage(url)["used"] > 0.001


def _quietly(url: str) -> None:
    with suppress(OSError):
        call(url)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: 5", "limits.yaml"),
        ("a: [", "YAML"),
        ("providers: {openai: {}}\nmodels: ['openai:x']", "OPENAI_API_KEY"),
    ],
)
def test_what_stops_it_is_said_in_a_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "limits.yaml").write_text(text)
    with program(tmp_path, OPENAI_API_KEY="") as (child, url):
        assert url == "" and child.wait(20) == 1
        assert child.stderr is not None
        error = child.stderr.read()
        assert said in error and "Traceback" not in error
