"""The output of a cell: small, harmless, and true when it is read later."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.model.run.view import ItemCounts, RunView, TaskView
from po_jupyter.presentation import format as fmt
from po_jupyter.presentation.run_output import (
    MOST_BYTES,
    RUN_MIME,
    output_result,
    result_task,
    row_results,
    run_output,
    snapshot,
)
from tests.presentation.test_run_view import Seen
from tests.support.runs import run_view

NOW = fmt.timestamp("2026-11-26T22:14:05.250Z")
EVIL = "</script><script>alert(1)</script>\x1b[31m\x9b2J\u202egpj.exe\u2066 $1 of $2 \\(x\\)"


def size(content: dict[str, Any]) -> int:
    return len(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))


def text_of(value: object) -> str:
    """All strings in JSON, keys included."""
    if isinstance(value, dict):
        return "".join(map(text_of, [*value.keys(), *value.values()]))
    return "".join(map(text_of, value)) if isinstance(value, list) else str(value)


def evil_run(state: str = "running") -> RunView:
    error = {"code": EVIL, "message": EVIL, "hint": EVIL, "details": {"traceback": EVIL}}
    task = TaskView(name=EVIL, state="failed", stage=EVIL, waiting=EVIL, reason=EVIL, error=error)
    gate = {"task": EVIL, "message": EVIL, "artifacts": [EVIL]}
    return run_view(
        state=state, name=EVIL, pipeline=EVIL, version=EVIL, tasks=(task,), gate=gate, error=error, waiting=EVIL
    )


def test_the_bundle_has_what_each_reader_of_the_file_understands() -> None:
    bundle = run_output(run_view(), NOW)
    assert set(bundle) == {RUN_MIME, "text/html", "text/plain"}
    content = bundle[RUN_MIME]
    assert content["version"] == 1
    assert content["base"] == "po/api/v1/"
    assert content["run"] == content["view"]["id"] == run_view().id
    assert content["at"] == "2026-11-26T22:14:05.250Z"


@pytest.mark.parametrize("state", ["running", "waiting", "done", "failed"])
def test_every_part_says_of_when_it_is(state: str) -> None:
    """A tab closed over night leaves `running` in the file; and what failed may have been resumed since."""
    bundle = run_output(run_view(state=state), NOW)
    assert bundle["text/plain"].endswith("as of 22:14 UTC, Nov 26, 2026")
    assert "as of 22:14 UTC, Nov 26, 2026" in bundle["text/html"]


def test_the_view_has_the_shape_of_http_without_what_is_private() -> None:
    run = run_view(
        tasks=(TaskView(name="a", items=ItemCounts(total=3)),), seed={"data": ["secret"]}, owner="me"
    )
    view = snapshot(run, NOW)["view"]
    whole = run.model_dump(mode="json", exclude={"seed", "owner"})
    assert view == whole
    assert "secret" not in json.dumps(view)


@pytest.mark.parametrize("state", ["running", "waiting", "failed"])
def test_nothing_in_it_is_obeyed(state: str) -> None:
    """P6: no markup, no terminal command, no reordered text, no formula; in the JSON, the HTML and the text."""
    bundle = run_output(evil_run(state), NOW, [(EVIL, EVIL)])
    seen = Seen(bundle["text/html"])
    assert seen.harmless
    for text in (text_of(bundle[RUN_MIME]), seen.text, bundle["text/plain"]):
        assert "gpj.exe" in text
        assert not set(text) & set("\x1b\x9b\u202e\u2066")
    for mark in ("$1", "$2", "\\("):
        assert mark not in bundle["text/html"], "MathJax finds a formula between two of them in one element"
        assert mark in seen.text


def long_run(count: int, text: str) -> RunView:
    error = {"code": "x", "message": text, "hint": text, "details": {"traceback": text, "more": [text] * 9}}
    gate = {"task": text, "message": text, "artifacts": [text] * 500, "deep": [[[[[[text]]]]]]}
    tasks = tuple(
        TaskView.model_validate({"name": f"{text}{i}", "state": state, "error": error, "waiting": text})
        for i, state in zip(range(count), ["failed", "running", "done", "pending"] * count, strict=False)
    )
    warnings = tuple({"scope": text, "fraction": 0.9} for _ in range(500))
    return run_view(
        state="waiting",
        name=text,
        pipeline=text,
        version=text,
        tasks=tasks,
        gate=gate,
        warnings=warnings,
        error=error,
    )


@pytest.mark.parametrize("count", [0, 1, 30, 1000])
@pytest.mark.parametrize(
    "text", ["x" * 5000, "\N{FIRE}" * 3000, '"\\' * 4000, "\n" * 5000, "short", "\ud800" * 99]
)
def test_it_is_small_whatever_the_run_holds(count: int, text: str) -> None:
    run = long_run(count, text)
    content = snapshot(run, NOW, [(text, text)] * 3)
    assert size(content) <= MOST_BYTES
    assert len(content["view"]["tasks"]) + sum(content["hidden"].values()) == count
    assert RunView.model_validate({"seed": {}, **content["view"]}).state == "waiting"
    json.dumps(content, allow_nan=False)


@given(st.text(max_size=300))
def test_any_text_fits(text: str) -> None:
    assert size(snapshot(long_run(40, text), NOW, [(text, text)])) <= MOST_BYTES


def test_of_many_tasks_those_that_matter_now_are_kept() -> None:
    states = ["done"] * 500 + ["running"] + ["failed"] * 2 + ["pending"] * 497
    tasks = tuple(TaskView.model_validate({"name": f"t{i}", "state": s}) for i, s in enumerate(states))
    content = snapshot(run_view(tasks=tasks), NOW)
    names = [task["name"] for task in content["view"]["tasks"]]
    assert {"t499", "t500", "t501", "t502", "t503"} <= set(names)
    assert content["hidden"] == {"done": 496, "pending": 493}


def test_a_finished_run_shows_how_its_output_begins() -> None:
    a, b = TaskView(name="a", state="done"), TaskView(name="b", state="done")
    assert result_task(run_view(state="done", tasks=(a, b))) is b
    assert result_task(run_view(state="done", tasks=(a, TaskView(name="b", state="skipped")))) is a
    assert result_task(run_view(state="failed", tasks=(a, b))) is None
    assert output_result("b", {"x": "é"}) == [("b", '{"x": "é"}')]
    assert output_result("b", None) == []
    rows = [{"index": i, "output": f" {i} " if i else None} for i in range(9)]
    assert row_results(rows) == [("row 1", "1"), ("row 2", "2")]


def test_of_a_huge_output_only_the_beginning_is_read() -> None:
    """P9: it is drawn on the server's loop as well."""

    class Endless(list[int]):
        def __iter__(self) -> Any:
            for i in range(10_000):
                assert i < 2000, "it is read to the end"
                yield i

    ((_, text),) = output_result("b", Endless([1]))
    assert text.startswith("[0, 1, 2") and text.endswith("…")
    assert len(text) <= 301
