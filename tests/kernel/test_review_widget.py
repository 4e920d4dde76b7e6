"""Rows are reviewed in a real kernel by keys alone, and what was said outlives it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.kernel.test_kernel_restart import execute
from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.acceptance
WIDGET = "application/vnd.jupyter.widget-view+json"
CELL = """
import po_jupyter as po
client = po.connect()
source = "def ingestion(ctx):\\n    return {'label': 'bug', 'text': ctx.item}\\n"
label = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "question", "praise"]}}}
task = {"name": "label", "source": source, "for_each": "{{ seed.rows }}", "output": label}
rows = [f"<img src=x onerror=alert({i})>\\x1b[2J" for i in range(8)]
run = client.submit({"name": "labels", "tasks": [task]}, rows).wait(60)
"""
REVIEW = "get_ipython().run_line_magic('po', f'review {run.id} --task label --sample 50')"


class Frontend:
    """The part of a frontend that a review needs: the widgets' states by id, and a value that a person types."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client
        self.states: dict[str, dict[str, Any]] = {}

    def run(self, code: str) -> list[dict[str, Any]]:
        seen = execute(self.client, code)
        self.take(seen)
        return seen

    def take(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            content = message["content"]
            data = content.get("data", {})
            if message["msg_type"] == "comm_open":
                self.states[content["comm_id"]] = dict(data["state"])
            elif message["msg_type"] == "comm_msg" and data.get("method") in ("update", "echo_update"):
                self.states.setdefault(content["comm_id"], {}).update(data["state"])

    def find(self, **state: str) -> str:
        return next(i for i, s in self.states.items() if all(s.get(k) == v for k, v in state.items()))

    def send(self, comm: str, data: dict[str, Any]) -> None:
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        self.client.shell_channel.send(message)

    def text(self) -> str:
        return "\n".join(
            str(s.get("value", "")) for s in self.states.values() if s.get("_view_name") == "HTMLView"
        )

    def press(self, key: str) -> None:
        """Type one key into the box, and wait until the review says what became of it."""
        self.send(self.find(description="Key"), {"method": "update", "state": {"value": key}})
        self.settle()

    def settle(self) -> None:
        self.run("while get_ipython()._po_jupyter.review._busy: __import__('time').sleep(0.01)")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path, orchestrator=None)
    yield process
    process.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_five_labels_survive_a_restart_of_the_kernel(server: JupyterProcess) -> None:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env={**server.env, "PO_JUPYTER_URL": server.url, "PO_JUPYTER_TOKEN": server.token})
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        page = Frontend(client)
        page.run("%load_ext po_jupyter")
        page.run(CELL)
        shown = page.run(REVIEW)
        (display,) = [m["content"]["data"] for m in shown if m["msg_type"] == "display_data"]
        assert WIDGET in display
        assert "1 of 8 · 0 reviewed" in page.text()
        assert "<img" not in page.text() and "&lt;img src=x" in page.text(), "an answer is text, not HTML"
        assert "\x1b" not in page.text()
        names = [s.get("description") for s in page.states.values() if s.get("description")]
        assert {"Key", "Note", "Edit", "1 bug", "2 question", "3 praise", "Right as it is (y)"} <= set(names)
        for key in ("1", "2", "y", "3", "s", "b"):
            page.press(key)
        edit = page.find(description="Edit")
        page.send(edit, {"method": "update", "state": {"value": '{"label": "questionn"}'}})
        record = page.find(description="Record the edited answer")
        page.send(record, {"method": "custom", "content": {"event": "click"}})
        page.settle()
        assert "does not fit the schema" in page.text()
        page.send(edit, {"method": "update", "state": {"value": '{"label": "question"}'}})
        page.send(record, {"method": "custom", "content": {"event": "click"}})
        page.settle()
        assert "6 of 8 · 5 reviewed" in page.text()
        page.press("12")
        assert "one key is one decision" in page.text()
        page.press("x")
        assert "is no key here" in page.text()
        assert "5 reviewed" in page.text()
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=60)
        page = Frontend(client)
        page.run("%load_ext po_jupyter\nimport po_jupyter as po\nrun = po.connect().runs()[0]")
        page.run(REVIEW)
        assert "6 of 8 · 5 reviewed" in page.text()
        for key in ("y", "y", "y"):
            page.press(key)
        assert "all 8 · 8 reviewed" in page.text()
        assert "8 rows reviewed, 3 corrected" in page.text()
        with server.http() as http:
            run = http.get("runs").json()["runs"][0]["id"]
            reviews = http.get(f"runs/{run}/reviews", params={"task": "label"}).json()["reviews"]
        assert [r["output"]["label"] for r in reviews] == [
            "bug", "question", "bug", "praise", "question", "bug", "bug", "bug",
        ]  # fmt: skip
        assert len({r["by"] for r in reviews}) == 1
        assert all(r["at"].startswith("20") for r in reviews)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
