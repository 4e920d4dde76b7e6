"""The notebook about maps over a DataFrame, executed top to bottom by a kernel of a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.notebooks.test_notebook_quickstart import Kernel, text_of
from tests.support.jupyter_process import JupyterProcess
from tests.support.paths import TESTS

NOTEBOOK = TESTS.parent / "notebooks" / "02-maps-over-a-dataframe.ipynb"


def cells() -> list[Any]:
    found = nbformat.read(NOTEBOOK, as_version=4)
    return list(found.cells)


def execute(server: JupyterProcess, model: str | None) -> dict[str, str]:
    """The text that each code cell shows, by the cell's first line, or its last for one that computes."""
    kernel = Kernel(server)
    said: dict[str, str] = {}
    try:
        for cell in cells():
            if cell.cell_type == "code":
                source = cell.source.replace("local:smollm2-135m", model or "local:smollm2-135m")
                lines = source.splitlines()
                shown = text_of(kernel.run(source, timeout=300))
                said[lines[0] if lines[0].startswith("%") else lines[-1]] = shown
    finally:
        kernel.close()
    return said


def test_the_notebook_of_maps_is_kept_without_outputs() -> None:
    assert [c.id for c in cells() if c.get("outputs") or c.get("execution_count")] == []


def test_the_notebook_of_maps_executes_top_to_bottom(tmp_path: Path) -> None:
    """Done-when 7 of the second issue; G17: the rows of the first cell are paid for once."""
    good = json.dumps({"measures": "centre"})

    def answer(body: dict[str, Any], _: int) -> str:
        return good if "response_format" in body else "Some plain words."

    with ModelServer(answer) as model:
        server = JupyterProcess(
            tmp_path, orchestrator=None, env={"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.key}
        )
        try:
            said = execute(server, "openai:any-model")
        finally:
            server.stop()
        assert len(model.requests) == 7 + 3, "seven rows have a text, three words are asked for; none twice"
    check(said)
    assert "centre" in said["labelled"]


@pytest.mark.slow
def test_the_notebook_of_maps_executes_with_the_local_model(tmp_path: Path) -> None:
    """As a newcomer has it: no key, the embedded model."""
    pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
    server = JupyterProcess(tmp_path, orchestrator=None)
    try:
        check(execute(server, None))
    finally:
        server.stop()


def check(said: dict[str, str]) -> None:
    """What holds whatever the model answers."""
    assert "(7, 1, 3)" in said["items.done, items.failed, items.reused"]
    error = said['run.items("label", state="failed")[0]["error"]["message"]']
    assert "null has no 'strip'" in error
    assert "[3, 13, 23, 33, 43]" in said['squares.frame("square").query("not ok").index.tolist()']
    assert "True" in said['squares.frame("square")["ok"].all()']
    rows = 'parsed.view.seed["data"]["rows"]["count"], parsed.view.seed["data"]["rows"]["columns"]'
    assert "(20000, ['line'])" in said[rows]
    assert "host-6" in said['parsed.frame("parse").groupby(["host", "status"]).size().unstack()']
    assert "a median" in said['compared.outputs["compare"]']
