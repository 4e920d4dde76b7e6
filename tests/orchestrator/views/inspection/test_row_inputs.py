"""Inputs of rows: those that they were made of."""

from __future__ import annotations

from pathlib import Path

from tests.support.run_page import MAP, ROWS, RunPage


async def test_rows_that_come_from_another_task_have_their_input(tmp_path: Path) -> None:
    page = RunPage(tmp_path, ["green", "red", "blue", "g", "r", "b"])
    again = {
        "name": "again",
        "prompt": "{{ item.output }}",
        "for_each": "{{ tasks.label }}",
        "max_concurrency": 1,
    }
    page.bench.create([{**MAP, "max_concurrency": 1}, again], {"rows": ROWS})
    assert await page.bench.go() == "done"
    rows = (await page.rows("again"))["rows"]
    assert [(row["input"]["output"], row["output"]) for row in rows] == [
        ("green", "g"),
        ("red", "r"),
        ("blue", "b"),
    ]


async def test_rows_of_a_sorted_selection_have_the_input_that_they_had(tmp_path: Path) -> None:
    page = RunPage(tmp_path, ["a", "f", "p"])
    chosen = {**MAP, "for_each": "{{ seed.rows | sort(attribute='text') }}", "max_concurrency": 1}
    page.bench.create([chosen], {"rows": ROWS})
    assert await page.bench.go() == "done"
    rows = (await page.rows())["rows"]
    assert [(row["input"]["text"], row["output"]) for row in rows] == [
        ("apple", "a"),
        ("fig", "f"),
        ("pear", "p"),
    ]
