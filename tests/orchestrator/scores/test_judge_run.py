"""The run that judges: a map for each judge, and a file where the rows are many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.orchestrator.scores.judge_run import INLINE, JudgedRows, judge_pipeline, judge_seed
from po_jupyter.store.files.row_files import RowFiles

HEAD: Any = {"run": "0193f00000000000abcdef", "owner": "me", "pipeline": "tickets"}


def judged(n: int, text: str = "x") -> JudgedRows:
    rows = JudgedRows(["judge", "nice"])
    questions = [{"system": "s", "question": text}] * n
    rows.add(
        [[i, {"n": i}, "bug"] for i in range(n)], {"judge": questions, "nice": [{"missing": "no gold"}] * n}
    )
    return rows


def test_each_judge_is_a_task_that_can_run() -> None:
    score = [{"judge": "good?", "scale": [1, 5]}, {"judge": "nice?", "name": "nice", "llm": "fake:echo"}]
    task = Task.model_validate({"name": "label", "prompt": "x", "score": score})
    pipeline = validate_pipeline(judge_pipeline(HEAD, task, {"model": "fake:other"}))
    assert [(t.name, t.for_each, t.llms[0].model) for t in pipeline.tasks] == [
        ("judge", "{{ seed.rows }}", None), ("nice", "{{ seed.rows1 }}", "fake:echo"),
    ]  # fmt: skip
    assert pipeline.name == "score-tickets" and pipeline.llm.model == "fake:other"


def test_rows_are_in_the_seed_or_in_files(tmp_path: Path) -> None:
    files = RowFiles(tmp_path)
    rows = judged(3)
    assert rows.left_out["nice"] == {"no gold": 3}
    seed = judge_seed(HEAD, "label", rows, files)
    assert [row["index"] for row in seed["data"]["rows"]] == [0, 1, 2] and seed["data"]["rows1"] == []
    large = judge_seed(HEAD, "label", judged(3, "y" * INLINE), files)
    found = files.with_rows("me", large["data"])["rows"]
    assert len(found) == 3 and found[2]["question"] == "y" * INLINE
