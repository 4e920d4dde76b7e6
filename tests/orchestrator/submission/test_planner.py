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
