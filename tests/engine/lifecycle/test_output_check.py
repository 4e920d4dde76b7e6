"""The `output` of a Python task judges what its stages leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.lifecycle.output_check import check_output
from po_jupyter.errors import OutputInvalid
from po_jupyter.model.pipeline.pipeline import Task
from tests.support.engine import Bench

SCHEMA = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "praise"]}}}


def code(returned: str) -> dict[str, Any]:
    return {"name": "a", "source": f"def integration(ctx):\n    return {returned}\n", "output": SCHEMA}


async def test_an_output_of_python_that_does_not_fit_fails_with_what_is_wrong(tmp_path: Path) -> None:
    bench = Bench(tmp_path).create([code("{'label': 'bugg'}")])
    assert await bench.go() == "failed"
    error = bench.state.tasks["a"].error
    assert error is not None and error["code"] == "output_invalid"
    assert 'output.label is "bugg", not one of "bug", "praise"' in error["message"]
    assert error["details"]["task"] == "a"


async def test_an_output_that_fits_is_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path).create([code("{'label': 'bug'}")])
    assert await bench.go() == "done" and bench.output("a") == {"label": "bug"}


async def test_rows_are_judged_one_by_one(tmp_path: Path) -> None:
    task = {**code("{'label': ctx.item}"), "for_each": "['bug', 'x']"}
    bench = Bench(tmp_path).create([task])
    assert await bench.go() == "done"
    assert [row["ok"] for row in bench.output("a")] == [True, False]


@pytest.mark.parametrize("nothing", ["None", "print('x')"])
async def test_nothing_is_no_answer_where_the_schema_wants_one(tmp_path: Path, nothing: str) -> None:
    bench = Bench(tmp_path).create([code(nothing)])
    assert await bench.go() == "failed"


async def test_null_that_is_meant_is_an_output_and_a_bare_none_is_none(tmp_path: Path) -> None:
    """The contract: Python cannot tell `return None` from the end of a function, so both leave the output as it was."""
    source = (
        "import po_jupyter as po\n"
        "def inference(ctx):\n    return 'text'\n"
        "def parsing(ctx):\n    return po.StageResult(output=None)\n"
        "def integration(ctx):\n    return None\n"
    )
    bench = Bench(tmp_path).create([{"name": "a", "source": source, "output": {"type": "null"}}])
    assert await bench.go() == "done" and bench.output("a") is None
    bench = Bench(tmp_path / "two").create(
        [{"name": "a", "source": source.replace("po.StageResult(output=None)", "None")}]
    )
    assert await bench.go() == "done" and bench.output("a") == "text"


async def test_prompt_tasks_judge_their_answers_themselves() -> None:
    await check_output(Task(name="t", prompt="x", output={"type": "integer"}), "no number")
    with pytest.raises(OutputInvalid):
        await check_output(Task(name="t", source="x = 1", output={"type": "integer"}), "no number")
