"""G13: the run as a notebook with parameters, as papermill finds them."""

from __future__ import annotations

import ast
import json

import nbformat

from po_jupyter.presentation.reports.notebook import notebook
from tests.support.report_content import content


def test_it_is_a_valid_notebook_with_one_cell_of_parameters() -> None:
    document = nbformat.reads(notebook(content()), as_version=4)
    nbformat.validate(document)
    tagged = [cell for cell in document.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    names = {target.id for node in ast.parse(tagged[0].source).body for target in node.targets}
    assert names == {"run_id", "seed", "model", "limit", "budget"}
    for cell in document.cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)
    values: dict[str, object] = {}
    exec(tagged[0].source, values)  # what a kernel would do
    assert (values["seed"], values["budget"]) == ({"text": "x"}, 2.0)


def test_it_does_the_same_run_with_its_options_and_its_whole_budget() -> None:
    budget = {"usd": 2.0, "tokens": 5000, "tasks": {"label": {"usd": 1.0}}}
    options = {"model": "openai:cheap", "limit": 10, "cache": False, "skip_validation": True}
    document = nbformat.reads(notebook(content(options=options, budget=budget)), as_version=4)
    cells = {cell.id: cell.source for cell in document.cells}
    values: dict[str, object] = {}
    exec(cells["parameters"], values)
    assert (values["model"], values["limit"], values["budget"]) == ("openai:cheap", 10, budget)
    assert "cache=False, skip_validation=True" in cells["run"]
    ast.parse(cells["run"])
    for budget, expected in (
        ({"usd": 2.0, "tasks": {}}, 2.0),
        ({"tokens": 10}, {"tokens": 10}),
        ({"usd": None}, None),
        ({}, None),
    ):
        document = nbformat.reads(notebook(content(budget=budget)), as_version=4)
        exec(document.cells[1].source, values)
        assert values["budget"] == expected


def test_a_large_seed_stays_in_its_run() -> None:
    text = notebook(content(seed={"name": "s", "data": {"rows": ["x" * 1000] * 200}}))
    assert len(text) < 20_000
    assert "seed = None" in json.dumps(json.loads(text))
    assert "seed = None" in notebook(content(seed={"name": "s", "data_bytes": 5_000_000}))
