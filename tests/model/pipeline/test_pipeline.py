"""The definition of a pipeline as a value that Python builds."""

from pydantic import BaseModel

from po_jupyter.model.pipeline.pipeline import LLM, Pipeline, Task


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
