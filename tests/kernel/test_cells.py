"""%%po_task: what a cell's code must be, and what it will miss in a worker."""

from __future__ import annotations

import pytest

from po_jupyter.kernel.cells import globals_of_notebook, parse_task_cell, with_cell_sources
from po_jupyter.kernel.errors import CellError
from po_jupyter.model.pipeline.parsing import parse_pipeline


def test_stages_come_in_their_order() -> None:
    cell = parse_task_cell(
        "extract", "import json\nasync def parsing(ctx): ...\ndef ingestion(ctx, deep=1): ...\n"
    )
    assert cell.stages == ("ingestion", "parsing")
    assert cell.asynchronous == {"parsing"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "def ingestion(ctx):\n    retrun 1 2\n",
            "cell line 3: the Python does not parse: invalid syntax\n    retrun 1 2\n",
        ),
        ("def ingest(ctx):\n    return 1\n", "`ingest` is not a stage; did you mean `ingestion`?"),
        (
            "def ingestion(ctx):\n    return 1\ndef inferece(ctx): ...\n",
            "cell line 4: `inferece` is not a stage, and nothing calls it; did you mean `inference`?",
        ),
        ("x = 1\n", "the task `extract` defines no stage function"),
        (
            "\ndef parsing():\n    return 1\n",
            "cell line 3: a stage takes one argument, the context: def parsing(ctx)",
        ),
        ("def parsing(ctx, b): ...\n", "cell line 2: a stage takes one argument"),
        ("def parsing(ctx, *, b): ...\n", "cell line 2: a stage takes one argument"),
    ],
)
def test_a_task_that_cannot_run_says_its_line(source: str, message: str) -> None:
    """P11; done-when 8: a Python task with a syntax error."""
    with pytest.raises(CellError) as caught:
        parse_task_cell("extract", source)
    assert message in str(caught.value)


def test_globals_of_the_notebook_are_noticed() -> None:
    source = """
import re
from json import dumps as d
LIMIT = 3
class Helper:
    x = rows
def helper(a, b=threshold):
    return a
def ingestion(ctx):
    local = 1
    def inner():
        return local + late
    global made
    made = 2
    return [helper(r) for r in df.rows if re.match("a", r)] and d(LIMIT) and len(made) and inner() and Helper
late = 5
@decorate
def parsing(ctx):
    return undefined_anywhere
"""
    namespace = {
        "df",
        "rows",
        "threshold",
        "re",
        "d",
        "helper",
        "local",
        "late",
        "made",
        "decorate",
        "r",
        "ctx",
        "len",
        "a",
    }
    assert globals_of_notebook(source, namespace) == [
        ("rows", 6),
        ("threshold", 7),
        ("df", 15),
        ("decorate", 17),
    ]


def test_a_cell_wins_over_an_installed_module() -> None:
    pipeline = parse_pipeline(
        "tasks: [json, {name: other, task: mine}, {name: p, prompt: hi},"
        " {name: s, source: 'def parsing(ctx): ...'}]",
        name="x",
    )
    cells = {name: parse_task_cell(name, "def ingestion(ctx): return 1") for name in ("json", "mine", "p", "s")}
    tasks = with_cell_sources(pipeline, cells).tasks
    assert [t.source for t in tasks] == [
        cells["json"].source,
        cells["mine"].source,
        None,
        "def parsing(ctx): ...",
    ]
    assert tasks[1].task is None
    assert with_cell_sources(pipeline, {}) == pipeline
