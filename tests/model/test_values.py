"""Usage, events and views: small values that everybody shows."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from po_jupyter.model.pipeline.pipeline import LLM, Pipeline, Task
from po_jupyter.model.run.usage import Usage, total
from po_jupyter.model.run.view import ENDED, RunView

_counts = st.integers(0, 10**9)
_usages = st.builds(
    Usage,
    input_tokens=_counts,
    output_tokens=_counts,
    cached_tokens=_counts,
    calls=_counts,
    unknown=_counts,
    reasoning_tokens=_counts,
    cache_write_tokens=_counts,
    cost=st.none() | st.integers(0, 1000).map(float),
)


@given(st.lists(_usages, max_size=5))
def test_a_total_adds_every_field_and_an_unknown_cost_stays_unknown(usages: list[Usage]) -> None:
    """DESIGN section 7: costs are null when unknown, never a sum with a hole."""
    result = total(usages)
    for name in (n for n in Usage.model_fields if n != "cost"):
        assert getattr(result, name) == sum(getattr(u, name) for u in usages)
    if any(u.cost is None for u in usages):
        assert result.cost is None
    else:
        assert result.cost == sum(u.cost or 0 for u in usages)
    assert Usage.model_validate(result.to_json()) == result


def test_a_view_from_a_newer_server_is_read() -> None:
    """Fields that this version does not know are passed over."""
    view = RunView.model_validate(
        {"id": "1", "name": "n", "pipeline": "p", "version": "1.0.0", "state": "running", "created_at": "x",
         "updated_at": "y", "seed": {}, "tasks": [{"name": "a", "later": 1}], "later": 2}
    )  # fmt: skip
    assert view.tasks[0].state == "pending"
    assert view.state not in ENDED


class Label(BaseModel):
    label: str


def test_an_output_may_be_a_pydantic_model() -> None:
    """G17: pipelines in plain Python."""
    pipeline = Pipeline(name="tickets", tasks=(Task(name="label", prompt="x", output=Label),))
    assert pipeline.tasks[0].output == Label.model_json_schema()
    assert Pipeline.model_validate(pipeline.to_json()) == pipeline


def test_a_task_overrides_its_pipeline() -> None:
    base = LLM(model="openai:a", temperature=0.0, max_tokens=10)
    assert LLM(temperature=1.0).over(base) == LLM(model="openai:a", temperature=1.0, max_tokens=10)
    assert LLM(model="openai:b").over(None).model == "openai:b"
