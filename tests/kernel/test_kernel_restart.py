"""Done-when 3: the kernel is restarted in the middle, the run ends `done`, and `%po show` shows it live."""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.acceptance

WIDGET = "application/vnd.jupyter.widget-view+json"
CELL = """%%po_pipeline five --run
llm: {model: "fake:echo?latency=2"}
tasks:
""" + "".join(f"  - {{name: t{i}, prompt: 'say {i}'}}\n" for i in range(5))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path, orchestrator=None)
    yield process
    process.stop()


def execute(client: BlockingKernelClient, code: str, seconds: float = 60) -> list[dict[str, Any]]:
    """The contents of what the cell published until it was idle; comm messages included."""
    ident = client.execute(code)
    seen: list[dict[str, Any]] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            message = client.get_iopub_msg(timeout=1)
        except queue.Empty:
            continue
        seen.append(message)
        done = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
        if done and message["parent_header"].get("msg_id") == ident:
            return seen
    raise AssertionError(f"the cell did not end in {seconds} s")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_run_outlives_a_restarted_kernel(server: JupyterProcess) -> None:
    """C4, P1: each task is done once, although the kernel that started the run is gone."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env={**server.env, "PO_JUPYTER_URL": server.url, "PO_JUPYTER_TOKEN": server.token})
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        execute(client, "%load_ext po_jupyter")
        execute(client, CELL)
        with server.http() as http:

            def run() -> dict[str, Any]:
                found: dict[str, Any] = http.get("runs").json()["runs"][0]
                return found

            until = time.monotonic() + 30
            while sum(t["state"] == "done" for t in run()["tasks"]) < 2:
                assert time.monotonic() < until
                time.sleep(0.05)  # the test's own look at the run from outside
            manager.restart_kernel(now=True)
            client.wait_for_ready(timeout=60)
            assert run()["state"] == "running"
            seen = execute(client, "%load_ext po_jupyter\n%po show --wait")
            drawn = [m["content"]["data"]["state"]["value"] for m in seen if _is_html(m)]
            live = [html for html in drawn if "running" in html]
            assert len(live) > 3, "the view did not move while the run went on"
            kept = [m["content"]["data"] for m in seen if m["msg_type"] == "update_display_data"]
            last = next(data for data in reversed(kept) if data["text/plain"])  # after it: no buttons
            assert "5 of 5 tasks done" in last["text/plain"]
            assert WIDGET not in last
            ended = run()
            assert ended["state"] == "done"
            events = http.get(f"runs/{ended['id']}/events", headers={"Accept": "application/json"}).json()[
                "events"
            ]
        assert Counter(e["task"] for e in events if e["type"] == "task.done") == {f"t{i}": 1 for i in range(5)}
        assert Counter(e["task"] for e in events if e["type"] == "call.done") == {f"t{i}": 1 for i in range(5)}
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _is_html(message: dict[str, Any]) -> bool:
    data = message["content"].get("data", {})
    return message["msg_type"] == "comm_msg" and isinstance(data.get("state", {}).get("value"), str)
