"""The sentences of an estimate."""

from typing import Any

from po_jupyter.presentation.estimates import estimate_lines


def task(name: str, **changes: Any) -> dict[str, Any]:
    known = {
        "name": name, "calls": 2, "calls_max": 2, "rows": None, "input_tokens": 100,
        "cost": {"expected": 0.1, "worst": 0.2},
    }  # fmt: skip
    return known | changes


def estimate(*tasks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    known = {
        "pipeline": "p", "calls": 4, "input_tokens": 200, "output_tokens_max": 300, "tasks": list(tasks),
        "cost": {"expected": 0.1, "worst": 0.2}, "unknown": [],
    }  # fmt: skip
    return known | changes


def test_one_line_for_the_run_and_one_for_each_task() -> None:
    first, *rest = estimate_lines(estimate(task("a"), task("longer", rows=1000, calls=1000, calls_max=3000)))
    assert first.startswith("p (estimate, nothing was started): 4 calls · about 200 tokens in")
    assert "about $0.100 · at most $0.200" in first
    assert rest[0].startswith("  a       2 calls · ")
    assert "1,000 rows · 1,000 calls (3,000 at most)" in rest[1]


def test_what_is_not_known_is_said() -> None:
    unknown = estimate(
        task("a", calls=None),
        unknown=["the rows of b"],
        warnings=["no key"],
        cost={"expected": None, "worst": None},
    )
    lines = estimate_lines(unknown)
    assert "at least 4 calls" in lines[0] and "cost unknown" in lines[0]
    assert lines[1:] == [
        "  a  not known before it runs",
        "  not in these numbers: the rows of b",
        "  before it can run: no key",
    ]
