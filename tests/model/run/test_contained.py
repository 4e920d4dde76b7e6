"""Pipelines inside of pipelines: names are resolved once, and what cannot be is refused with its place."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.errors import InvalidPipeline, NotFound
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.contained import MOST_DEEP, contained, inlined, pipeline_in, task_paths


def pipeline(name: str, *tasks: dict[str, Any]) -> Pipeline:
    return validate_pipeline({"name": name, "tasks": list(tasks or [{"name": "q", "prompt": "x"}])})


def runs(name: str) -> dict[str, Any]:
    return {"name": "t", "pipeline": name}


def library(*known: Pipeline) -> Any:
    by_name = {one.name: one for one in known}

    def find(name: str) -> Pipeline:
        if name not in by_name:
            raise NotFound(f"there is no pipeline {name!r}", hint="Registered: b")
        return by_name[name]

    return find


def test_a_definition_has_what_it_runs_in_it() -> None:
    a = inlined(pipeline("a", runs("b")), library(pipeline("b", runs("c")), pipeline("c")))
    assert [(where, one.name) for where, one in contained(a)] == [
        ("tasks[0].pipeline", "b"),
        ("tasks[0].pipeline.tasks[0].pipeline", "c"),
    ]
    assert validate_pipeline(a.to_json(), recorded=True).to_json() == a.to_json()
    assert inlined(a, library()).to_json() == a.to_json(), "what is in it stays as it was"


def test_a_pipeline_without_others_stays_the_same_object() -> None:
    one = pipeline("a")
    assert inlined(one, library()) is one
    assert pipeline_in(one.tasks[0]) is None


def test_tasks_in_it_have_the_names_of_those_around_before_their_own() -> None:
    whole = inlined(pipeline("a", runs("b"), {"name": "z", "prompt": "x"}), library(pipeline("b")))
    assert list(task_paths(whole)) == ["t", "t.q", "z"]


def test_an_unknown_name_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidPipeline, match="there is no pipeline 'bb'") as caught:
        inlined(pipeline("a", {"name": "q", "prompt": "x"}, runs("bb")), library())
    assert caught.value.violations[0].where == "tasks[1].pipeline"


@pytest.mark.parametrize("deep", [False, True])
def test_one_that_contains_itself_is_refused(deep: bool) -> None:
    known = [pipeline("b", runs("c")), pipeline("c", runs("a")), pipeline("a", runs("b"))]
    name = "b" if deep else "a"
    with pytest.raises(InvalidPipeline, match="cannot run itself: a → " + ("b → c → a" if deep else "a")):
        inlined(pipeline("a", runs(name)), library(*known))


def test_a_circle_that_does_not_go_through_the_first_is_refused() -> None:
    known = [pipeline("b", runs("c")), pipeline("c", runs("b"))]
    with pytest.raises(InvalidPipeline, match="b → c → b"):
        inlined(pipeline("a", runs("b")), library(*known))


def test_five_in_one_another_are_the_most() -> None:
    known = [pipeline(f"p{i}", runs(f"p{i + 1}")) for i in range(1, MOST_DEEP)] + [pipeline(f"p{MOST_DEEP}")]
    inlined(pipeline("p0", runs("p1")), library(*known))
    with pytest.raises(InvalidPipeline, match="more than 5 pipelines in one another"):
        inlined(pipeline("top", runs("p0")), library(pipeline("p0", runs("p1")), *known))


def test_its_kind_is_pipeline() -> None:
    task = pipeline(
        "a", {**runs("b"), "gate": "ok?", "budget": {"usd": 1}, "seed": {"n": "{{ seed.n }}"}}
    ).tasks[0]
    assert (task.kind, task.module, task.carries_code) == ("pipeline", None, False)
