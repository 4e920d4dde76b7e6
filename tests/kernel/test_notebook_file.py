"""A notebook executed by nbclient, with a real kernel and a real server: what the file holds afterwards."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from po_jupyter.presentation.run_output import RUN_MIME
from tests.support.jupyter_process import JupyterProcess
from tests.support.paths import ROOT

pytestmark = pytest.mark.acceptance

SLOW = """%%po_pipeline slow --run
llm: {model: "fake:echo?latency=60"}
tasks:
  - {name: ask, prompt: "<script>alert(1)</script> costs $5 or $10"}
"""
EVIL = """%%po_pipeline answers --wait
llm: {model: "fake:echo"}
tasks:
  - name: ask
    prompt: |
      <script>alert(1)</script><img src=x onerror=alert(2)> costs $5 or $10 | a | b |
"""
WIDGET = "application/vnd.jupyter.widget-view+json"
TRIED = """%%po_task look --try {}
import asyncio, sys
async def inference(ctx):
    await asyncio.sleep(0.01)
    return asyncio.get_running_loop() is sys.loops[0]
"""
PIPELINE = """%%po_pipeline tickets FLAGS
llm: {model: "fake:echo?latency=0.2"}
tasks:
  - name: label
    prompt: "Label {{ item }}"
    for_each: "{{ seed.rows }}"
    output: {type: object, properties: {label: {enum: [bug, praise]}}, required: [label]}
  - name: report
    source: |
      import os
      def integration(ctx):
          return {"rows": len(ctx.tasks["label"]), "cwd": os.getcwd()}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path_factory.mktemp("server"), orchestrator=None)
    yield process
    process.stop()


def executed(server: JupyterProcess, folder: Path, cells: list[str]) -> list[list[dict[str, Any]]]:
    """The outputs of the cells; a cell that fails does not stop the next one."""
    return [cell.outputs for cell in executed_book(server, folder, cells).cells]


def executed_book(server: JupyterProcess, folder: Path, cells: list[str]) -> nbformat.NotebookNode:
    """The notebook with its outputs, as `jupyter nbconvert --execute` and papermill have it."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(
        book,
        timeout=60,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
    )
    env = {**server.env, "PO_JUPYTER_URL": server.url, "PO_JUPYTER_TOKEN": server.token}
    env.pop("JPY_PARENT_PID", None)
    client.execute(env=env)
    return book


def text_of(output: dict[str, Any]) -> str:
    return str(output["data"]["text/plain"])


# A kernel's own deprecations are not ours to fix.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_file_holds_the_end_of_the_run_as_plain_html(server: JupyterProcess, tmp_path: Path) -> None:
    """G8, C3: `--wait` under nbclient; the value is a Run; Python tasks run in the kernel's directory."""
    _, cell, values = executed(
        server,
        tmp_path,
        [
            "%load_ext po_jupyter",
            PIPELINE.replace("FLAGS", "--run --wait --seed ['a','b'] --out run"),
            "assert _ is run\nrun.outputs['report'], run.outputs['label'][0], run.usage.cost",
        ],
    )
    picture = cell[0]["data"]
    assert WIDGET not in picture
    assert "✓ done" in picture["text/html"]
    assert "2/2 rows" in picture["text/html"]
    assert "run" in text_of(cell[-1])
    assert cell[-1]["output_type"] == "execute_result"
    assert " ".join(text_of(values[0]).split()).startswith(
        "({'rows': 2, 'cwd': '" + str(tmp_path) + "'}, {'index': 0, 'ok': True,"
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_nbconvert_makes_of_it_is_true_and_harmless(server: JupyterProcess, tmp_path: Path) -> None:
    """A run that had ended and one that had not, as HTML and as Markdown: no widget that needs a network, no script of
    a model, and of when it is."""
    from nbconvert import HTMLExporter, MarkdownExporter

    book = executed_book(server, tmp_path, ["%load_ext po_jupyter", EVIL, SLOW, "import time\ntime.sleep(4)"])
    with server.http() as http:
        http.post(f"runs/{book.cells[2].outputs[0]['data'][RUN_MIME]['run']}/cancel", json={})
    ended, running = (cell.outputs[0]["data"] for cell in book.cells[1:3])
    assert (ended[RUN_MIME]["view"]["state"], running[RUN_MIME]["view"]["state"]) == ("done", "running")
    assert WIDGET not in {**ended, **running}
    page, _ = HTMLExporter().from_notebook_node(book)
    markdown, _ = MarkdownExporter().from_notebook_node(book)
    for text in (page, markdown):
        outputs = "".join(
            re.findall(r'<div class="mathjax_ignore tex2jax_ignore".*?</div>\s*</div>', text, re.S)
        )
        assert "✓ done" in outputs and "▸ running" in outputs
        assert len(re.findall(r"as of \d\d:\d\d UTC, \w+ \d+, \d{4}", outputs)) == 2
        assert "&lt;script&gt;alert(1)" in outputs and "<script>alert" not in outputs and "<img" not in outputs
        assert "<span>$</span>5 or <span>$</span>10" in outputs
        assert WIDGET not in text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_failed_cell_is_an_error_with_a_clean_box(server: JupyterProcess, tmp_path: Path) -> None:
    """P11, done-when 8: what the server finds points at the line of the cell; nothing is started."""
    wrong = PIPELINE.replace("{{ item }}", "{{ itme }}")
    _, unknown, provider, fine, runs = executed(
        server,
        tmp_path,
        [
            "%load_ext po_jupyter",
            wrong.replace("FLAGS", "--run --seed ['a']"),
            PIPELINE.replace("FLAGS", "--model opnai:x --run --seed ['a']"),
            PIPELINE.replace("FLAGS", "--seed ['a']"),
            "%po runs --pipeline tickets --state failed,pending,running",
        ],
    )
    (error,) = unknown
    assert error["output_type"] == "error"
    assert error["traceback"][0].startswith("cell line 5: ")
    assert "itme" in error["traceback"][0]
    assert "opnai" in provider[0]["evalue"]
    assert "openai" in provider[0]["evalue"]
    assert "tickets 1.0.0 · 2 tasks · registered" in text_of(fine[0])
    assert "no runs yet" in text_of(runs[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_async_stage_is_tried_on_the_kernels_own_loop(server: JupyterProcess, tmp_path: Path) -> None:
    """C1: nest_asyncio, opt-in; the views work on after it was applied."""
    cells = executed(
        server,
        tmp_path,
        [
            "%load_ext po_jupyter\nimport asyncio, sys\nloop = asyncio.get_running_loop()\nsys.loops = [loop]",
            "assert 'nest_asyncio' not in sys.modules",
            TRIED,
            PIPELINE.replace("FLAGS", "--wait --seed ['a']"),
        ],
    )
    assert not [o for outputs in cells for o in outputs if o["output_type"] == "error"]
    if sys.version_info < (3, 14):
        assert "true" in text_of(cells[2][0])
    assert "✓ done" in cells[3][0]["data"]["text/html"]


def test_loading_the_extension_is_quick_and_asks_nobody() -> None:
    """Start-up pays only for what is used: no HTTP client, no widgets, no YAML, no orchestrator."""
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance();"
        "before = set(sys.modules); s.run_line_magic('load_ext', 'po_jupyter');"
        "new = set(sys.modules) - before;"
        "print(sorted(new & {'httpx', 'aiohttp', 'ipywidgets', 'jinja2', 'ruamel.yaml', 'click'}))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": os.devnull + "-nothing"}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)
    assert answer.stdout.strip().splitlines()[-1] == "[]", answer.stderr
