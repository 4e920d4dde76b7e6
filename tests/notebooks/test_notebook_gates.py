"""The notebook of gates and recovery, executed by a kernel of a real server (B11-B13, G5, R1.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

from tests.notebooks.test_notebook_quickstart import Kernel, text_of
from tests.support.jupyter_process import JupyterProcess
from tests.support.paths import TESTS

NOTEBOOK = TESTS.parent / "notebooks" / "03-gates-and-recovery.ipynb"


def cells() -> list[Any]:
    read = nbformat.read(NOTEBOOK, as_version=4)
    return [cell for cell in read.cells if cell.cell_type == "code"]


def test_it_is_kept_without_outputs() -> None:
    assert [c.outputs for c in cells() if c.outputs] == []
    assert [c.execution_count for c in cells() if c.execution_count] == []


def test_gates_and_recovery_execute_top_to_bottom(tmp_path: Path) -> None:
    """Issue 2, "Done when" 7: the same words in Python and magics, shown and executed."""
    server = JupyterProcess(tmp_path, orchestrator=None)
    said: dict[str, str] = {}
    try:
        kernel = Kernel(server)
        try:
            for cell in cells():
                said[cell.source.splitlines()[-1]] = text_of(kernel.run(cell.source, timeout=180))
        finally:
            kernel.close()
    finally:
        server.stop()

    def of(start: str) -> str:
        return next(text for line, text in said.items() if line.startswith(start))

    assert "'message': 'Is this outline what you want?'" in of('until(run, "waiting")')
    states = of("[(task.name, task.state, task.reason)")
    assert "('write-storage', 'done', None)" in states
    assert "('shorten', 'skipped', 'a short text needs no shortening')" in states
    assert "echo: Write about recovery." in of('run.outputs["publish"]')
    assert "the other side does not answer" in of("letter.state, str(letter.error)")
    assert "('done', {'delivered': 'echo: Dear Ada', 'attempt': 2}, 1)" in of("letter.state, letter.outputs")
    assert "([('draft', 1), ('deliver', 3)], 1)" in of("[(task.name, task.attempt)")
    assert "('deliver', {'delivered': 'echo: Dear Ada', 'attempt': 1}, 0)" in of("fork.view.forked_from")
    assert "('fragile',\n  1,\n  3," in of('[(dead["task"]')
    assert "po dead requeue" in of("%po dead list")
    assert "('done', [])" in of("risky.refresh().state")
