"""The notebook about operators, executed top to bottom by a kernel of a real server (issue 13, done when 3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.notebooks.test_notebook_quickstart import Kernel, text_of
from tests.support.jupyter_process import JupyterProcess
from tests.support.paths import ROOT

NOTEBOOK = ROOT / "notebooks" / "06-operators-over-a-table.ipynb"


def cells() -> list[Any]:
    return [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]


def execute(server: JupyterProcess, model: str) -> list[str]:
    kernel = Kernel(server)
    try:
        return [
            text_of(kernel.run(c.source.replace("local:smollm2-135m", model), timeout=300)) for c in cells()
        ]
    finally:
        kernel.close()


def answer(body: dict[str, Any], _: int) -> str:
    """What a good model says: the parts that a review names, and of two reviews the one that has something broken."""
    prompt = body["messages"][-1]["content"].lower()
    if "which parts" in prompt:
        words = {"battery": "battery", "screen": "screen", "expensive": "price"}
        return json.dumps({"parts": [part for word, part in words.items() if word in prompt][:2]})
    if "which review" in prompt:
        left, right = (any(w in half for w in ("broken", "dead")) for half in prompt.split("right:"))
        return json.dumps({"better": "right" if right and not left else "left"})
    return "Talk to the supplier soon."


def test_the_notebook_of_operators_is_kept_without_outputs() -> None:
    assert [c.id for c in cells() if c.outputs or c.execution_count] == []


def test_the_notebook_of_operators_executes_top_to_bottom(tmp_path: Path) -> None:
    with ModelServer(answer) as model:
        env = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.key}
        server = JupyterProcess(tmp_path, orchestrator=None, env=env)
        try:
            shown = execute(server, "openai:any-model")
        finally:
            server.stop()
        # Seven rows, three groups; of seven rows the first takes six comparisons, the others three at most.
        assert 7 + 3 + 6 <= len(model.requests) <= 7 + 3 + 6 + 2 * 3
    once, joined, worst = shown[3], shown[4], shown[6]
    assert "R-11" in once and "R-04" not in once and "R-10" not in once
    assert "[screen, battery]" in joined or "[battery, screen]" in joined
    assert "R-01" in worst.splitlines()[2]


@pytest.mark.slow
def test_the_notebook_of_operators_executes_with_the_local_model(tmp_path: Path) -> None:
    """As a newcomer has it: no key, the embedded model."""
    pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
    server = JupyterProcess(tmp_path, orchestrator=None)
    try:
        assert "rank" in execute(server, "local:smollm2-135m")[6]
    finally:
        server.stop()
