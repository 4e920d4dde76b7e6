"""P11: the check of a pipeline before a run names every violation with its place."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.config import McpServer
from po_jupyter.engine.planning.check import check, violations
from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.parsing import validate_pipeline


def pipeline(task: dict[str, Any], **fields: Any) -> Any:
    return validate_pipeline({"name": "p", **fields, "tasks": [{"name": "t", **task}]})


@pytest.mark.parametrize(
    ("task", "fields", "where"),
    [
        ({"prompt": "x"}, {"llm": {"model": "nowhere:x"}}, "llm.model"),
        ({"prompt": "x", "llm": {"model": "nowhere:x"}}, {}, "tasks[0].llm.model"),
        ({"prompt": "x", "llm": {"model": "openai:no-such"}}, {"budget": {"usd": 1}}, "tasks[0].llm.model"),
        ({"prompt": "{{ sed }}"}, {}, "tasks[0].prompt"),
        ({"source": "return 1"}, {}, "tasks[0].source"),
        ({"source": "def ingestion(c): ...\ndef inferece(c): ...\n"}, {}, "tasks[0].source"),
        ({"prompt": "x", "mode": "batch", "for_each": "[1]"}, {}, "tasks[0].mode"),
    ],
)
def test_each_violation_has_its_place(task: dict[str, Any], fields: dict[str, Any], where: str) -> None:
    assert [v.where for v in violations(pipeline(task, **fields))] == [where]


VECTORS, ANSWERS = "openai:text-embedding-3-small", "openai:gpt-5-mini"


@pytest.mark.parametrize(
    ("task", "inherited", "where", "message"),
    [
        (
            {"embed": "x"},
            ANSWERS,
            "tasks[0].embed",
            "makes no vectors; name one that does under the task's `llm`",
        ),
        ({"embed": "x", "llm": {"model": ANSWERS}}, VECTORS, "tasks[0].embed", "makes no vectors"),
        ({"prompt": "x"}, VECTORS, "llm.model", "gives no answers; name one that does, for example openai:"),
        ({"prompt": "x", "llm": {"model": VECTORS}}, ANSWERS, "tasks[0].llm.model", "gives no answers"),
    ],
)
def test_vectors_and_answers_are_of_different_models(
    task: dict[str, Any], inherited: str, where: str, message: str
) -> None:
    found = violations(pipeline(task, llm={"model": inherited}))
    assert [v.where for v in found] == [where] and message in found[0].message
    own = {"model": VECTORS if "embed" in task else ANSWERS}
    assert violations(pipeline({**task, "llm": own}, llm={"model": inherited})) == []


def test_a_judge_gives_answers() -> None:
    judged = {"prompt": "x", "llm": {"model": ANSWERS}, "score": {"judge": "Good?", "llm": {"model": VECTORS}}}
    assert [v.where for v in violations(pipeline(judged))] == ["tasks[0].score.llm.model"]


def test_all_of_them_are_raised_at_once() -> None:
    with pytest.raises(InvalidPipeline) as caught:
        check(pipeline({"prompt": "{{ sed }} {{ nope }}", "llm": {"model": "nowhere:x"}}))
    assert len(caught.value.violations) == 3


def test_names_of_tools_are_checked_where_the_servers_are_known() -> None:
    task = pipeline({"prompt": "x", "tools": ["files.read"]})
    check(task)
    check(task, servers={"files": McpServer(command=["x"])})
    with pytest.raises(InvalidPipeline, match="no MCP server"):
        check(task, servers={})
