"""B16: what a pipeline does and leaves, before a run."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.planning.analysis import PipelineAnalysis, analyse
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.model.pipeline.parsing import validate_pipeline

SOURCE = """
def ingestion(ctx):
    return 1

def helper(ctx):
    ctx.io.write_artifact(f"{ctx}.txt", "x")

async def validateQuality(ctx):
    ctx.io.write_artifact("report.html", "x")
    ctx.io.write_artifact(name="data/rows.csv", content="x")
    ctx.io.write_artifact("report.html", "y")
"""
LABEL = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "praise"]}}}


def analysis(*tasks: Any, data: dict[str, Any] | None = None) -> PipelineAnalysis:
    definition = {"name": "p", "llm": {"model": "fake:echo"}, "tasks": list(tasks)}
    return analyse(validate_pipeline(definition), data)


def test_a_map_of_prompts() -> None:
    task = {"name": "label", "for_each": "{{ seed.rows }}", "prompt": "x", "output": LABEL, "gate": "Right?"}
    found = analysis(task, data={"rows": [{"text": "It crashes"}]})
    (label,) = found["tasks"]
    assert label["stages"] == ["prompt_templating", "inference", "parsing", "validate_structure"]
    assert (label["shape"], label["gate"], label["needs"]) == ('{label: "bug" | "praise"}', True, [])
    assert label["output"] is not None
    seed = found["seed"]
    assert seed is not None
    assert seed["shape"] == "{rows: [{text: text}]}"


def test_python_is_read_and_not_run() -> None:
    found = analysis(
        {"name": "a", "source": SOURCE},
        {"name": "b", "task": "some.module", "gate": {"artifacts": ["report.html"]}},
        {"name": "c", "source": "raise SystemExit\n"},
    )
    a, b, c = found["tasks"]
    assert a["stages"] == ["ingestion", "validate_quality"]
    assert a["artifacts"] == ["report.html", "data/rows.csv"], "names that stand in the code, each once"
    assert (b["stages"], b["artifacts"], b["needs"]) == (None, ["report.html"], ["a"])
    assert c["stages"] == []
    assert found["seed"] is None


def test_the_stages_of_prompts_are_those_that_run() -> None:
    """One list for the analysis and the engine."""
    critique = {"max_attempts": 1, "critique": "Is {{ output }} right?"}
    for more in ({}, {"output": LABEL}, {"output": LABEL, "refine": critique}):
        definition = {
            "name": "p",
            "llm": {"model": "fake:echo"},
            "tasks": [{"name": "a", "prompt": "x", **more}],
        }
        pipeline = validate_pipeline(definition)
        (task,) = analyse(pipeline)["tasks"]
        assert task["stages"] is not None
        stages = PromptTask(pipeline.task("a")).stages(None, {})  # type: ignore[arg-type]
        assert set(task["stages"]) == set(stages)
