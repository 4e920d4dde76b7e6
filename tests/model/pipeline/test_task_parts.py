"""The parts of a task: settings of models over others, short forms of gates and of models."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from po_jupyter.model.pipeline.task_parts import LLM, Gate, RunBudget


def test_settings_of_a_task_lie_over_those_of_its_pipeline() -> None:
    own = LLM(temperature=0.5).over(LLM(model="fake:echo", temperature=1))
    assert (own.model, own.temperature) == ("fake:echo", 0.5)
    assert own.over(None) is own


def test_short_forms() -> None:
    assert LLM.model_validate("fake:echo").model == "fake:echo"
    assert LLM.model_validate({"provider": "openai", "model": "gpt-5-mini"}).model == "openai:gpt-5-mini"
    assert Gate.model_validate(True) == Gate()
    assert Gate.model_validate("Go on?").message == "Go on?"
    assert LLM(stop="x").stop == ("x",)  # type: ignore[arg-type]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValidationError, match="without a `model`"):
        LLM.model_validate({"provider": "openai"})
    with pytest.raises(ValidationError, match="provider:model"):
        LLM(model="nothing")
    with pytest.raises(ValidationError):
        RunBudget(usd=-1)
