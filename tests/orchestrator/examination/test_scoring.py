"""Recorded answers are scored in the process that examines; judges are asked later."""

from __future__ import annotations

from pathlib import Path

from po_jupyter.config import Settings
from po_jupyter.orchestrator.examination.scoring import expected_answers, score_rows


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


def test_what_is_expected_of_a_row_is_said_for_each_scorer_or_why_nobody_knows(tmp_path: Path) -> None:
    score = [
        {"expect": "{{ item.gold }}", "metrics": ["exact", "f1"]},
        {"name": "seed", "expect": "{{ seed.key[index] }}"},
        {"name": "said", "judge": "Good? {{ output }}"},
        {"name": "broken", "expect": "{{ item.gold / 0 }}"},
    ]
    task = {"name": "t", "prompt": "-", "for_each": "{{ seed.rows }}", "score": score}
    definition, seed = {"name": "p", "tasks": [task]}, {"data": {"key": ["x", "y"]}}
    settings = Settings(data_dir=tmp_path)
    gold, key, broken = expected_answers(definition, seed, "me", [1, {"gold": {"a": [1]}}, None], settings)[
        "expected"
    ]
    assert gold == {"scores": ["exact", "f1"], "value": {"a": [1]}, "problem": None}
    assert key == {"scores": ["seed"], "value": "y", "problem": None}
    assert broken["scores"] == ["broken"] and broken["value"] is None and broken["problem"]
    missing = expected_answers(definition, seed, "me", [0, {}, None], settings)["expected"][0]
    assert missing["problem"] == "nothing is expected of this row"
