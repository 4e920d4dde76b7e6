"""`mode: batch` before anything runs: what is wrong, and what it will cost (P11, G1, G4)."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.engine.planning.check import violations
from po_jupyter.engine.planning.estimate import estimate_run
from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.parsing import parse_pipeline, validate_pipeline
from po_jupyter.model.run.seed import Seed
from po_jupyter.presentation.estimates import estimate_lines


def pipeline(**task: Any) -> Any:
    given_ = {"name": "m", "prompt": "x {{ item }}", "for_each": "{{ seed.rows }}", "mode": "batch", **task}
    task_ = {name: value for name, value in given_.items() if value is not None}
    return validate_pipeline(
        {"name": "p", "llm": {"model": "openai:gpt-4o", "max_tokens": 100}, "tasks": [task_]}
    )


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"for_each": None}, "needs `for_each`"),
        ({"prompt": None, "source": "def inference(ctx): pass"}, "is for prompt tasks"),
        ({"prompt": None}, "is for prompt tasks"),
        ({"mode": "bulk"}, "mode"),
        ({"tools": ["files.read"]}, "do not go together"),
        ({"mode": True}, "mode"),
        ({"mode": ["batch"]}, "mode"),
    ],
)
def test_where_it_means_nothing_it_is_an_error(task: dict[str, Any], said: str) -> None:
    """P11."""
    with pytest.raises(InvalidPipeline, match=said):
        pipeline(**task)


def test_the_error_names_the_line() -> None:
    text = "name: p\ntasks:\n  - name: a\n    prompt: x\n    mode: batch\n"
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline(text)
    assert caught.value.violations[0].line in (3, 4, 5)


@pytest.mark.parametrize(
    "model", ["groq:llama-3.3-70b", "local:smollm2-135m", "deepseek:deepseek-chat", "fake:echo"]
)
def test_a_provider_without_a_batch_api(model: str) -> None:
    """P11: said before the run starts."""
    (found,) = violations(pipeline(llm={"model": model}))
    assert found.where == "tasks[0].mode"
    assert "anthropic, gemini, mistral, openai" in found.message and model.partition(":")[0] in found.message
    assert violations(pipeline()) == []


def test_the_estimate_knows_the_half_price() -> None:
    """G1."""
    seed = Seed(name="s", data={"rows": ["a", "b", "c"]})
    batch, single = (
        estimate_run(pipeline(mode=mode), seed, seed.data, settings=Settings()) for mode in ("batch", None)
    )
    assert batch["calls"] == single["calls"] == 3
    assert batch["cost"]["worst"] == pytest.approx(single["cost"]["worst"] / 2)
    assert "half price" in estimate_lines(batch)[1] and "half price" not in estimate_lines(single)[1]
