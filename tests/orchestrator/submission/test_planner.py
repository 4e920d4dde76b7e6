"""The planner says what is wrong with a submission before anything is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Forbidden, InvalidEnvironment, InvalidInput, NotFound
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.environment.preflight import Preflight
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.orchestrator.submission.planner import RunPlanner
from po_jupyter.orchestrator.submission.request import Submission
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.orchestrator import body, settings, task

GREET = {"name": "greet", "tasks": [{"name": "say", "prompt": "Hello", "llm": "fake:echo"}]}
OPENAI = {"name": "ask", "tasks": [{"name": "ask", "prompt": "Hello", "llm": "openai:gpt-5-mini"}]}
SEED = {"name": "s", "data": {}}


class Desk:
    """A planner; `counts` is whether runs see this environment."""

    def __init__(self, tmp_path: Path) -> None:
        self.counts = True
        config = settings(tmp_path)
        self.registry = PipelineRegistry(MemoryStore())
        preflight = Preflight(config, KeyStore(tmp_path), lambda: self.counts)
        self.planner = RunPlanner(config, self.registry, RowFiles(tmp_path), preflight)

    def plan(self, *, code_allowed: bool = True, **submitted: Any) -> Any:
        return self.planner.plan(Submission.model_validate(submitted), "a", code_allowed=code_allowed)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return Desk(tmp_path)


def test_the_definition_is_inlined_whatever_names_it(desk: Desk) -> None:
    """DESIGN, Identity: a run keeps its own snapshot."""
    desk.registry.put(validate_pipeline(GREET), "a")
    text = "name: greet\ntasks:\n- {name: say, prompt: Hello, llm: 'fake:echo'}\n"
    plans = [desk.plan(pipeline=given, seed=SEED) for given in (GREET, "greet", text)]
    plans.append(desk.plan(seed={**SEED, "pipeline": "greet"}))
    assert len({str(plan.definition["pipeline"]) for plan in plans}) == 1
    assert {plan.pipeline for plan in plans} == {"greet"}
    with pytest.raises(NotFound, match="did you mean `greet`"):
        desk.plan(pipeline="gret", seed=SEED)


def test_what_is_wrong_with_pipeline_and_seed_is_told_at_once(desk: Desk) -> None:
    """R1.1."""
    with pytest.raises(InvalidInput) as raised:
        desk.plan(pipeline={"name": "x", "tasks": []}, seed={"data": 1})
    assert len(raised.value.violations) >= 2


def test_code_needs_its_scope(desk: Desk) -> None:
    """DESIGN, Doors."""
    asked = body(task("one"))
    assert desk.plan(**asked).definition["code_allowed"]
    with pytest.raises(Forbidden, match="source"):
        desk.plan(code_allowed=False, **asked)


def test_a_missing_key_is_told_where_it_would_be_missing(desk: Desk) -> None:
    """R2.5: not where another server has the workers, nor when the run skips it."""
    with pytest.raises(InvalidEnvironment, match="OPENAI_API_KEY"):
        desk.plan(pipeline=OPENAI, seed=SEED)
    desk.plan(pipeline=OPENAI, seed=SEED, options={"skip_validation": True})
    assert desk.planner.validate(Submission(pipeline=OPENAI), "a")["warnings"]
    desk.counts = False
    desk.plan(pipeline=OPENAI, seed=SEED)
    assert desk.planner.validate(Submission(pipeline=OPENAI), "a")["warnings"] == []


def test_options_that_differ_from_the_defaults_are_kept(desk: Desk) -> None:
    definition = desk.plan(pipeline=GREET, seed=SEED, options={"limit": 3, "fresh": False}).definition
    assert definition["options"] == {"limit": 3}
    for wrong in ({"limit": 0}, {"limt": 3}, {"model": "nobody:x"}):
        with pytest.raises(ValueError):
            desk.plan(pipeline=GREET, seed=SEED, options=wrong)


def test_a_text_is_checked_with_its_name_whether_or_not_there_is_a_seed(desk: Desk) -> None:
    """With a seed the name was forgotten: a text without one was wrong, and one with another was right."""
    nameless = "tasks:\n- {name: say, prompt: Hello, llm: 'fake:echo'}\n"
    for seed in (None, SEED):
        checked = desk.planner.validate(Submission(pipeline=nameless, seed=seed), "a", name="greet")
        assert checked["pipeline"]["name"] == "greet"
        with pytest.raises(InvalidInput, match="'other' outside"):
            desk.planner.validate(Submission(pipeline=f"name: greet\n{nameless}", seed=seed), "a", name="other")


OUTER = (
    "name: outer\nllm: fake:echo\ntasks:\n  - name: first\n    prompt: x\n  - name: t\n    pipeline: {name}\n"
)


def test_the_pipelines_that_tasks_run_are_inlined(desk: Desk) -> None:
    desk.registry.put(validate_pipeline(GREET), "a")
    plan = desk.plan(pipeline=OUTER.replace("{name}", "greet"), seed=SEED)
    assert plan.definition["pipeline"]["tasks"][1]["pipeline"] == GREET | {
        "tasks": [{"name": "say", "prompt": "Hello", "llm": {"model": "fake:echo"}}]
    }
    assert plan.definition["format"] == 2
    assert plan.events[0]["data"]["tasks"][1] == {"name": "t", "kind": "pipeline"}
    desk.registry.put(validate_pipeline({**GREET, "tasks": [{"name": "say", "prompt": "Bye"}]}), "a")
    again = desk.plan(pipeline=validate_pipeline(plan.definition["pipeline"]).to_json(), seed=SEED)
    assert again.definition["pipeline"] == plan.definition["pipeline"]


@pytest.mark.parametrize(("name", "message"), [("gret", "did you mean `greet`"), ("loop", "cannot run itself")])
def test_a_pipeline_that_cannot_be_in_another_is_refused_with_the_line(
    desk: Desk, name: str, message: str
) -> None:
    """P11."""
    desk.registry.put(validate_pipeline(GREET), "a")
    desk.registry.put(validate_pipeline({"name": "loop", "tasks": [{"name": "x", "pipeline": "outer"}]}), "a")
    with pytest.raises(InvalidInput, match=message) as raised:
        desk.plan(pipeline=OUTER.replace("{name}", name), seed=SEED)
    assert raised.value.violations[0].line == 7


def test_what_is_wrong_inside_of_a_pipeline_is_told_with_the_line_of_its_task(desk: Desk) -> None:
    broken = {"name": "broken", "tasks": [{"name": "q", "prompt": "say {{ nothing }}", "llm": "fake:echo"}]}
    desk.registry.put(validate_pipeline(broken), "a")
    with pytest.raises(InvalidInput, match=r"in pipeline 'broken': .*nothing") as raised:
        desk.plan(pipeline=OUTER.replace("{name}", "broken"), seed=SEED)
    assert raised.value.violations[0].line == 7


def test_the_models_and_the_code_of_a_contained_pipeline_are_looked_at(desk: Desk) -> None:
    desk.registry.put(validate_pipeline(OPENAI), "a")
    with pytest.raises(InvalidEnvironment, match="OPENAI_API_KEY"):
        desk.plan(pipeline=OUTER.replace("{name}", "ask"), seed=SEED)
    code = {"name": "code", "tasks": [{"name": "c", "source": "def inference(ctx):\n    return 1\n"}]}
    desk.registry.put(validate_pipeline({"name": "middle", "tasks": [{"name": "m", "pipeline": code}]}), "a")
    desk.plan(pipeline=OUTER.replace("{name}", "middle"), seed=SEED)
    with pytest.raises(Forbidden, match="source"):
        desk.plan(pipeline=OUTER.replace("{name}", "middle"), seed=SEED, code_allowed=False)


def test_the_estimate_and_the_analysis_have_the_calls_of_a_contained_pipeline(desk: Desk) -> None:
    rows = {"name": "rows", "llm": {"model": "fake:echo"}, "tasks": [
        {"name": "r", "for_each": "{{ seed.all }}", "prompt": "say {{ item }}", "output": {"type": "object"}},
    ]}  # fmt: skip
    desk.registry.put(validate_pipeline(rows), "a")
    text = OUTER.replace("{name}", "rows") + '    seed: {all: "{{ seed.some }}"}\n'
    submission = Submission.model_validate(
        {"pipeline": text, "seed": {"name": "s", "data": {"some": [1, 2, 3]}}}
    )
    estimate = desk.planner.estimate(submission, "a", code_allowed=True)
    assert estimate["calls"] == 4
    assert [(t["name"], t["kind"], t["calls"]) for t in estimate["tasks"]] == [
        ("first", "prompt", 1), ("t", "pipeline", 3),
    ]  # fmt: skip
    analysed = estimate["analysis"]["tasks"][1]
    assert [one["name"] for one in analysed["pipeline"]] == ["r"]
    assert analysed["stages"] is None
    assert estimate["analysis"]["tasks"][0]["pipeline"] is None
