"""The notebook of models and money, executed by a kernel of a real server without a key (B6, B7, G1-G3, G16, R2.5)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.notebooks.test_notebook_quickstart import Kernel, text_of
from tests.support.jupyter_process import JupyterProcess
from tests.support.paths import ROOT

NOTEBOOK = ROOT / "notebooks" / "04-models-and-money.ipynb"
PAGE = ROOT / "po_jupyter" / "docs" / "design" / "writing-a-provider.md"


def cells() -> list[Any]:
    read = nbformat.read(NOTEBOOK, as_version=4)
    return [cell for cell in read.cells if cell.cell_type == "code"]


def test_the_notebook_of_models_is_kept_without_outputs() -> None:
    assert [c.id for c in cells() if c.outputs or c.execution_count] == []


def test_its_provider_is_the_one_of_the_documentation_and_has_30_lines() -> None:
    """Issue 3, "Done when" 8."""
    (cell,) = [c.source for c in cells() if c.source.startswith("%%writefile")]
    module = cell.partition("\n")[2]
    assert f"```python\n{module}\n```" in PAGE.read_text("utf-8")
    assert len([line for line in module.splitlines() if line]) <= 30


def test_models_and_money_execute_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 3, "Done when" 8: choosing, structure, cost, cache, limits, keys, and the provider as others add theirs."""
    for name in os.environ:
        if name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    server = JupyterProcess(tmp_path, orchestrator=None)
    said: dict[str, str] = {}
    try:
        kernel = Kernel(server)
        try:
            for cell in cells():
                said[cell.source] = text_of(kernel.run(cell.source))
        finally:
            kernel.run("terminal('stop') if 'terminal' in globals() else None")
            kernel.close()
    finally:
        server.stop()

    def of(part: str) -> str:
        return next(text for source, text in said.items() if part in source)

    assert "'echo: Who wrote Faust?', 1" in of("Who wrote Faust?")
    assert "ctx.llm.openai.gpt5_mini" in of("%po models gpt-5")
    assert "no: OPENAI_API_KEY is not set" in of("%po models gpt-5")
    assert "('local:smollm2-135m'" in of("smollm2")
    assert "ctx.llm.toy.small" in of("%po models --provider toy")
    assert "$50" in of("%po models --provider toy")
    assert "no: TOY_API_KEY is not set" in of("%po models --provider toy")
    refused = of("Is anybody there?")
    assert "toy needs a key, and TOY_API_KEY is not set where the orchestrator runs: po keys set toy" in refused
    assert "'masked': 'toy…book'" in of("set_key")
    assert "This is a bug." in of("Is that meant so?")
    assert "(Ticket(label='praise'), 2)" in of("class Ticket")
    assert 'answer.label is "PRAISE", not one of "bug", "question", "praise"' in of("heard[-1]")
    assert "openai:gpt-5-mini" in of("client.estimate") and "worst" in of("client.estimate")
    stopped = of("print(run.error)")
    assert "the budget of $0.02 is spent: $0.0083 used" in stopped and "(2, 0.0083)" in stopped
    assert "7       bug" in of("run.resume")
    # What a kernel prints arrives in pieces, wherever it was cut.
    assert " ".join(of("for fresh in").split()) == (
        "Ticket(label='praise') 0 calls, 2 from the cache Ticket(label='praise') 2 calls, 0 from the cache "
        "2 requests to the toy"
    )
    waited = of('model="toy:slow"')
    assert "s for toy:slow (requests per 2 s)" in waited and "done" in waited
    assert "8 calls of unknown price" in of("%po usage") and "2 cached" in of("%po usage")
    assert "stopped the orchestrator" in of('terminal("stop")')
