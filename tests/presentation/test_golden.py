"""The cases that the panel's tests read are what Python says today."""

from __future__ import annotations

from tests.presentation.golden import GOLDEN, golden, text


def test_the_golden_cases_are_what_the_cell_says() -> None:
    """DESIGN 8: the same words and numbers in the cell, the panel and the terminal."""
    assert GOLDEN.read_text() == text(), "python -m tests.presentation.golden writes them again"


def test_every_state_has_a_case() -> None:
    """A run or a task in a state that no case has could be said in two ways."""
    runs = golden()["runs"]
    assert {case["run"]["state"] for case in runs} == {
        "pending", "running", "waiting", "done", "failed", "cancelled", "dead",
    }  # fmt: skip
    assert {task["state"] for case in runs for task in case["run"]["tasks"]} == {
        "pending", "running", "done", "failed", "skipped", "cancelled",
    }  # fmt: skip
