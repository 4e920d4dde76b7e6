"""G1: calls, tokens and dollars before anything is spent, marked as estimates."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.engine.planning.estimate import estimate_run
from po_jupyter.errors import PoError
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.seed import Seed
from po_jupyter.presentation.estimates import estimate_lines

LABEL = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "praise"]}}}


def estimate(*tasks: Any, data: dict[str, Any] | None = None, limit: int | None = None, **more: Any) -> Any:
    pipeline = validate_pipeline({
        "name": "p", "llm": {"model": "openai:gpt-4o-mini", "max_tokens": 100}, "tasks": list(tasks), **more,
    })  # fmt: skip
    return estimate_run(pipeline, Seed(name="s", data=data or {}), data or {}, settings=Settings(), limit=limit)


ROWS = {"rows": [{"text": "x" * 400}] * 1000}
MAP = {"name": "label", "for_each": "{{ seed.rows }}", "prompt": "Label: {{ item.text }}", "output": LABEL}


def test_a_map_over_rows_of_the_seed() -> None:
    said = estimate(MAP, data=ROWS)
    assert said["estimated"] is True
    assert said["calls"] == 1000
    assert said["output_tokens_max"] == 100_000
    assert 100_000 < said["input_tokens"] < 200_000
    (task,) = said["tasks"]
    assert task["rows"] == 1000
    assert task["calls_max"] == 3000, "two re-asks of each row"
    # gpt-4o-mini: $0.15 and $0.60 for a million tokens; by hand from the tokens above
    least = said["input_tokens"] * 0.15e-6
    assert least < said["cost"]["expected"] < least + 100_000 * 0.6e-6 < said["cost"]["worst"]
    assert said["unknown"] == []


def test_a_limit_is_the_first_rows() -> None:
    said = estimate(MAP, data=ROWS, limit=10)
    assert said["calls"] == 10
    assert estimate(MAP, data={"rows": []})["calls"] == 0


def test_answers_that_do_not_exist_yet_are_samples() -> None:
    said = estimate(
        MAP,
        {"name": "sum", "prompt": "{{ tasks.label | map(attribute='output.label') | join(' ') }}"},
        {"name": "title", "prompt": "A title for: {{ tasks.sum }}"},
        data=ROWS,
    )
    assert said["calls"] == 1002
    assert said["tasks"][1]["input_tokens"] > 500
    assert 90 < said["tasks"][2]["input_tokens"] < 130, "the answer before it at its longest"
    assert said["cost"]["expected"] is None, "how long a free text gets is not known"
    assert said["cost"]["worst"] is not None


def test_what_cannot_be_known_is_said() -> None:
    python = {"name": "load", "source": "def ingestion(ctx):\n    return [1, 2]\n"}
    said = estimate(python, {"name": "m", "for_each": "tasks.load", "prompt": "{{ item }}"})
    assert said["calls"] == 0
    assert [t["calls"] for t in said["tasks"]] == [None, None]
    assert "task 'load' is Python" in said["unknown"][0]
    assert "how many rows task 'm' has: they come from load" in said["unknown"][1]
    unpriced = estimate({"name": "a", "prompt": "x", "llm": {"model": "openai:no-such-model"}})
    assert unpriced["cost"]["worst"] is None
    assert "the price of openai:no-such-model" in unpriced["unknown"][0]
    assert estimate({"name": "a", "prompt": "x", "llm": {"model": "fake:echo"}})["cost"]["worst"] == 0


def test_in_words() -> None:
    first, *rest = estimate_lines(
        estimate(MAP, {"name": "x", "source": "def ingestion(ctx):\n    return 1\n"}, data=ROWS)
    )
    assert first.startswith("p (estimate, nothing was started): at least 1,000 calls · about ")
    assert "1,000 rows · 1,000 calls (3,000 at most)" in rest[0]
    assert "not in these numbers: task 'x' is Python" in rest[-1]


@pytest.mark.integration
async def test_it_is_asked_for_over_the_orchestrator_and_starts_nothing(tmp_path: Any) -> None:
    """P11: a wrong seed is refused as a submit would refuse it; a right one leaves no run behind."""
    from po_jupyter.orchestrator.service import Orchestrator

    orchestrator = Orchestrator(Settings(data_dir=tmp_path, store_shards=1))
    service = await orchestrator.start()
    try:
        body = {"pipeline": {"name": "p", "tasks": [MAP]}, "seed": {"name": "s", "data": ROWS}}
        said = await service.submissions.estimate({**body, "options": {"limit": 3}}, owner="me")
        assert said["calls"] == 3
        with pytest.raises(PoError, match="has no `rows`"):
            await service.submissions.estimate({**body, "seed": {"name": "s", "data": {}}}, owner="me")
        with pytest.raises(PoError, match="no task 'labl'; did you mean `label`"):
            await service.submissions.submit({**body, "budget": {"tasks": {"labl": {"usd": 1}}}}, owner="me")
        assert (await service.runs.page(None))[0] == []
    finally:
        await orchestrator.stop()


def test_votes_are_a_range_of_calls() -> None:
    """Each of `n`; with an early stop as many as are needed where all agree, and all of them at most."""
    (every,) = estimate({**MAP, "votes": 5, "refine": {"max_attempts": 0}}, data=ROWS)["tasks"]
    assert (every["calls"], every["calls_max"]) == (5000, 5000)
    (early,) = estimate(
        {**MAP, "votes": {"n": 5, "stop_early": True}, "refine": {"max_attempts": 0}}, data=ROWS
    )["tasks"]
    assert (early["calls"], early["calls_max"]) == (3000, 5000)
    assert early["cost"]["expected"] == pytest.approx(every["cost"]["expected"] * 3 / 5)
    assert early["cost"]["worst"] == every["cost"]["worst"]


def test_a_cascade_is_priced_by_each_of_its_models() -> None:
    small, big = "openai:gpt-4o-mini", "openai:gpt-4o"
    alone = {model: estimate({**MAP, "llm": {"model": model}}, data=ROWS)["tasks"][0] for model in (small, big)}
    said = estimate({**MAP, "llm": [{"model": small}, {"model": big, "when": "{{ output.label }}"}]}, data=ROWS)
    (task,) = said["tasks"]
    assert (task["calls"], task["calls_max"]) == (1000, 6000)
    assert task["cost"]["expected"] == alone[small]["cost"]["expected"]
    assert task["cost"]["worst"] == pytest.approx(alone[small]["cost"]["worst"] + alone[big]["cost"]["worst"])
    assert "how many answers of task 'label' are left to openai:gpt-4o" in said["unknown"]


def test_a_cascade_that_learns_says_what_its_sample_is() -> None:
    sure = {"type": "object", "properties": {"label": {"enum": ["bug"]}, "confidence": {"type": "number"}}}
    models = [{"model": "openai:gpt-4o-mini"}, {"model": "openai:gpt-4o", "target": 0.9}]
    task = {**MAP, "output": sure, "llm": models}
    left = "how many answers of task 'label' are left to openai:gpt-4o"
    assert f"{left}, besides 200 rows of a sample" in estimate(task, data=ROWS)["unknown"]
    assert f"{left}: all rows are its sample" in estimate(task, data=ROWS, limit=200)["unknown"]


def test_rows_that_are_distinct_by_vectors_are_asked_about_once_each() -> None:
    task = {
        "name": "u",
        "for_each": "{{ seed.rows }}",
        "embed": "{{ item.text }}",
        "distinct": {"similarity": 0.9},
    }
    after = {"name": "m", "for_each": "{{ tasks.u }}", "prompt": "{{ item.text }}"}
    said = estimate(task, after, data=ROWS, llm={"model": "openai:text-embedding-3-small"})
    assert [one["calls"] for one in said["tasks"]] == [1000, 1000]
    assert "how many rows task 'u' keeps: all of them are counted" in said["unknown"]


def test_vectors_cost_their_texts_alone() -> None:
    task = {"name": "v", "for_each": "{{ seed.rows }}", "embed": "{{ item.text }}"}
    said = estimate(task, data=ROWS, llm={"model": "openai:text-embedding-3-small"})
    (one,) = said["tasks"]
    assert (one["calls"], one["calls_max"], one["output_tokens_max"]) == (1000, 1000, 0)
    assert one["model"] == "openai:text-embedding-3-small"
    assert said["cost"]["expected"] == said["cost"]["worst"] == pytest.approx(said["input_tokens"] * 0.02e-6)
