"""The estimate and the check of operators before a run."""

from __future__ import annotations

from typing import Any

from po_jupyter.config import Settings
from po_jupyter.engine.planning.check import violations
from po_jupyter.engine.planning.estimate import estimate_run
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.seed import Seed

ROWS = [{"id": n, "city": "AB"[n % 2], "tags": ["x", "y"], "text": "t" * 50} for n in range(40)]
KEEP = {"name": "keep", "for_each": "{{ seed.rows }}", "where": "{{ item.id > 9 }}"}


def pipeline(*tasks: Any) -> Any:
    return validate_pipeline(
        {"name": "p", "llm": {"model": "fake:echo", "max_tokens": 100}, "tasks": list(tasks)}
    )


def calls(*tasks: Any) -> dict[str, tuple[Any, Any, Any]]:
    seed = Seed(name="s", data={"rows": ROWS})
    said = estimate_run(pipeline(*tasks), seed, seed.data, settings=Settings())
    return {task["name"]: (task["rows"], task["calls"], task["calls_max"]) for task in said["tasks"]}


def of(**fields: Any) -> dict[str, Any]:
    return {"name": "t", "for_each": "{{ tasks.keep }}", **fields}


def test_what_asks_nobody_costs_nothing_and_tells_how_many_rows_there_are() -> None:
    label = {"name": "label", "for_each": "{{ tasks.t }}", "prompt": "{{ item.tags }}"}
    assert calls(KEEP, of(unnest="tags"), label) == {"keep": (40, 0, 0), "t": (30, 0, 0), "label": (60, 60, 60)}


def test_calls_of_groups_and_of_their_steps() -> None:
    assert calls(KEEP, of(group_by="{{ item.city }}", prompt="{{ item.rows | length }}"))["t"] == (2, 2, 2)
    group = {"key": "{{ item.city }}", "tokens": 100}
    rows, expected, most = calls(KEEP, of(group_by=group, prompt="{{ item.rows }}", llm={"max_tokens": 16}))[
        "t"
    ]
    assert rows == expected > 2
    assert most >= expected


def test_calls_of_comparisons_are_bounded() -> None:
    top = {"k": 3, "pairs": True}
    rows, expected, most = calls(
        KEEP, of(top_k=top, prompt="{{ item.left.text }}", refine={"max_attempts": 0})
    )["t"]
    assert (rows, most) == (expected, 29 + 2 * 5)
    assert expected <= most


def test_mistakes_are_found_before_the_start() -> None:
    seed = Seed(name="s", data={"rows": ROWS})

    def wrong(**fields: Any) -> list[str]:
        return [f"{v.where}: {v.message}" for v in violations(pipeline(KEEP, of(**fields)), seed)]

    assert "no `nope` (they have id" in wrong(where="{{ item.nope }}")[0]
    assert "`output` is not defined" in wrong(group_by="{{ output.x }}", prompt="{{ item.key }}")[0]
    assert "no `kee`" in wrong(group_by="{{ item.id }}", prompt="{{ item.kee }}")[0]
    assert (
        "no `nope`"
        in wrong(join={"to": "{{ seed.rows }}", "key": "{{ item.id }}"}, prompt="{{ item.right.nope }}")[0]
    )
    assert "no `others`" in wrong(join={"to": "{{ seed.others }}"})[0]
    assert "is one expression" in wrong(distinct="x {{ item.id }}")[0]
    assert "does not parse" in wrong(where="{{ item.id > }}")[0]
    good = of(where="{{ output.answer and item.id }}", prompt="{{ item.text }}")
    assert wrong(**good) == []
