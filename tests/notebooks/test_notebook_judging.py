"""The notebook about scores, executed top to bottom by a kernel of a real server (issue 13, "Done when" 3)."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import nbformat

from po_jupyter.testing.model_server import ModelServer
from tests.notebooks.test_notebook_quickstart import Kernel, text_of
from tests.support.jupyter_process import JupyterProcess
from tests.support.paths import ROOT

NOTEBOOK = ROOT / "notebooks" / "05-judging-answers.ipynb"


def cells() -> list[Any]:
    read = nbformat.read(NOTEBOOK, as_version=4)
    return [cell for cell in read.cells if cell.cell_type == "code"]


def answer(body: dict[str, Any], _: int) -> str:
    """Labels by a word, wrong for two tickets; a judge who likes short ones."""
    system, text = body["messages"][0]["content"], body["messages"][-1]["content"]
    if system.startswith("You are a judge"):
        return json.dumps(
            {"reason": "It is short." if len(text) < 200 else "It is long.", "score": 5 - len(text) // 100}
        )
    ticket = text.partition("Ticket: ")[2]
    label = "praise" if re.search(r"(?i)thank|love|great", ticket) else "question" if "?" in ticket else "bug"
    return json.dumps({"label": "bug" if "wrong" in ticket else "question" if "wish" in ticket else label})


def test_the_notebook_of_scores_is_kept_without_outputs() -> None:
    assert [c.id for c in cells() if c.outputs or c.execution_count] == []


def test_judging_answers_executes_top_to_bottom(tmp_path: Path) -> None:
    said: dict[str, str] = {}
    pictures: list[bytes] = []
    with ModelServer(answer) as model:
        env = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.key}
        server = JupyterProcess(tmp_path, orchestrator=None, env=env)
        try:
            kernel = Kernel(server)
            try:
                for cell in cells():
                    outputs = kernel.run(cell.source.replace("local:smollm2-135m", "openai:any-model"))
                    said[cell.source] = text_of(outputs)
                    pictures += [
                        base64.b64decode(o["data"]["image/png"])
                        for o in outputs
                        if "image/png" in o.get("data", {})
                    ]
            finally:
                kernel.close()
        finally:
            server.stop()
        assert len(model.requests) == 24 + 24, "a label and a verdict for each ticket"

    def of(part: str) -> str:
        return next(text for source, text in said.items() if part in source)

    assert "20 of 22 right, 2 without" in of('scores = run.scores("label")')
    assert "2 without accuracy, macro_f1: nothing is expected of this row" in of('scores = run.scores("label")')
    (picture,) = pictures
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000
    assert "0 calls; 20 of 22 right" in of("again = run.score")
    table = of("def line")
    assert "label is the person's label" in table and "0.91" in table and "0.72 to 0.97" in table
