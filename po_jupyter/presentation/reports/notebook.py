"""The report as a notebook that does the run again: its parameters stand in a cell that papermill fills."""

from __future__ import annotations

import json
import pprint

from po_jupyter.model.values.json import JsonObject
from po_jupyter.presentation.reports import markdown
from po_jupyter.presentation.reports.content import ReportContent

_LARGEST_SEED = 100_000  # bytes of JSON that stand in the notebook itself
_OPTIONS = "fresh", "cache", "skip_validation"  # of a run, that are no parameters
_TAG = "parameters"  # as papermill and Jupyter's own tools look for it


def notebook(content: ReportContent) -> str:
    """The notebook as JSON of format 4.5."""
    cells = [
        _markdown("about", _about(content)),
        _code("parameters", _parameters(content), tags=[_TAG]),
        _code("pipeline", f"pipeline = {_literal(content.definition)}"),
        _code("run", _run_code(content)),
        _code("wait", "run.wait()\nrun.raise_for_error()"),
        *(_code(f"rows-{n}", f"run.frame({task!r})") for n, task in enumerate(content.rows)),
        *(_code(f"output-{n}", f"run.outputs[{task!r}]") for n, task in enumerate(content.outputs)),
    ]
    document: JsonObject = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _about(content: ReportContent) -> str:
    lines = [
        f"# {markdown.inline(content.title)}",
        "",
        "Running this notebook does the run again, as a new one: what did not change is not paid for twice. The cell "
        "below has its parameters; `papermill` sets them from outside.",
        "",
        markdown.table(("", "of the run that this notebook was made of"), content.facts()),
        "",
        markdown.table(("task", "state", "model", "rows", "took", "calls", "tokens", "cost"), content.tasks()),
    ]
    return "\n".join(lines)


def _parameters(content: ReportContent) -> str:
    data = content.view.seed.get("data")
    small = data is not None and len(json.dumps(data, ensure_ascii=False, default=str)) <= _LARGEST_SEED
    options, budget = content.options, {name: limit for name, limit in content.view.budget.items() if limit}
    dollars = budget.get("usd") if set(budget) <= {"usd"} else None
    lines = [
        f"run_id = {content.view.id!r}",
        f"seed = {_literal(data)}" if small else "seed = None  # None: the seed of that run",
        f"model = {options.get('model')!r}  # None: the models of the pipeline",
        f"limit = {options.get('limit')!r}  # None: all rows",
        f"budget = {budget if budget and dollars is None else dollars!r}  # US dollars, or a budget; None: no limit",
    ]
    return "\n".join(lines)


def _run_code(content: ReportContent) -> str:
    others = {name: content.options[name] for name in _OPTIONS if name in content.options}
    arguments = "".join(f", {name}={value!r}" for name, value in others.items())
    return (
        "import po_jupyter as po\n\nclient = po.connect()\n"
        "data = seed if seed is not None else client.run(run_id).view.seed['data']\n"
        f"run = client.submit(pipeline, seed=data, model=model, limit=limit, budget=budget{arguments})\nrun"
    )


def _literal(value: object) -> str:
    return pprint.pformat(value, width=110, sort_dicts=False)


def _markdown(id: str, source: str) -> JsonObject:
    return {"cell_type": "markdown", "id": id, "metadata": {}, "source": source}


def _code(id: str, source: str, tags: list[str] | None = None) -> JsonObject:
    return {
        "cell_type": "code",
        "id": id,
        "metadata": {"tags": tags} if tags else {},
        "execution_count": None,
        "outputs": [],
        "source": source,
    }
