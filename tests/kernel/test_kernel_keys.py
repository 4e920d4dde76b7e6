"""G16: keys from a notebook. Asked for in the frontend's hidden field; one that only the kernel has is noticed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.integration

KEY = "sk-Zq7TtTb3vRkW9xYp2LmN8cJh5sDf"
ONLY_HERE = "sk-ant-only-in-this-kernel-0123456789"
CELL = """%%po_pipeline asking --run
tasks:
  - name: label
    llm: anthropic:claude-haiku-4-5
    prompt: hi
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[JupyterProcess]:
    process = JupyterProcess(
        tmp_path,
        orchestrator=None,
        env={
            "ANTHROPIC_API_KEY": "",
            "OPENAI_API_KEY": "",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        },
    )
    yield process
    process.stop()


def execute(
    client: BlockingKernelClient, code: str, answer: str | None = None
) -> tuple[str, list[dict[str, Any]]]:
    """Everything that the cell showed, and what it asked for."""
    seen: list[dict[str, Any]] = []
    asked: list[dict[str, Any]] = []

    def on_input(message: dict[str, Any]) -> None:
        asked.append(message["content"])
        client.input(answer or "")

    client.execute_interactive(
        code, timeout=60, output_hook=seen.append, stdin_hook=on_input, allow_stdin=answer is not None
    )
    # Without the cell's own text, which the frontend has anyway.
    return json.dumps([m["content"] for m in seen if m["msg_type"] != "execute_input"]), asked


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_keys_in_a_notebook(server: JupyterProcess) -> None:
    """G16, R2.5, P10: in a real kernel of a real server, and no key in anything that the kernel published."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env={**server.env, "PO_JUPYTER_URL": server.url, "PO_JUPYTER_TOKEN": server.token})
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        execute(client, "%load_ext po_jupyter")
        shown, asked = execute(client, "%po keys set openai", KEY)
        assert [a["password"] for a in asked] == [True]
        assert "sk-\\u20265sDf is kept in a file" in shown
        listed, _ = execute(client, "%po keys")
        assert "sk-\\u20265sDf" in listed
        refused, _ = execute(client, f"%po keys set openai {KEY}")
        assert "never an argument" in refused
        nobody, _ = execute(client, "%po keys set openai")
        assert "nobody can be asked" in nobody

        execute(client, f"import os; os.environ['ANTHROPIC_API_KEY'] = '{ONLY_HERE}'")
        cell, _ = execute(client, CELL)
        assert "cell line 4: pipeline 'asking', task 'label': anthropic needs a key" in cell
        only = "ANTHROPIC_API_KEY is set in this kernel only, the orchestrator does not see it: %po keys set anthropic"
        assert only in cell
        defined, _ = execute(client, CELL.replace(" --run", ""))
        assert "before it can run: pipeline 'asking'" in defined
        waited, _ = execute(client, CELL.replace("--run", "--wait --skip-validation"))
        assert only in waited
        for text in (shown, listed, nobody, cell, defined, waited, refused):
            assert KEY not in text
            assert ONLY_HERE not in text
        with server.http() as http:
            assert http.get("keys").json()["keys"][0]["masked"] == "sk-…5sDf"
        written = b"".join(
            p.read_bytes() for p in server.data.rglob("*") if p.is_file() and p.name != "keys.json"
        )
        for key in (KEY, ONLY_HERE):
            assert key.encode() not in written + server.log.read_bytes()
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
