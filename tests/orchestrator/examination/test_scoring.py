"""Recorded answers are scored in the process that examines; judges are asked later."""

from __future__ import annotations

from pathlib import Path

from po_jupyter.config import Settings
from po_jupyter.orchestrator.examination.scoring import score_rows


def test_rows_have_scores_and_questions_or_why_not(tmp_path: Path) -> None:
    score = [{"expect": "{{ item.gold }}"}, {"judge": "Good? {{ output }}", "expect": "{{ item.gold }}"}]
    definition = {
        "name": "p",
        "tasks": [{"name": "t", "prompt": "-", "for_each": "{{ seed.rows }}", "score": score}],
    }
    rows = [[0, {"gold": "a"}, "a"], [3, {}, "a"]]
    answer = score_rows(definition, {}, "me", rows, Settings(data_dir=tmp_path))
    assert [scores["values"] for scores in answer["scores"]] == [{"exact": 1.0}, {"exact": None}]
    first, second = answer["questions"]["judge"]
    assert first["question"].startswith("Good? <data-") and second == {
        "missing": "nothing is expected of this row"
    }
