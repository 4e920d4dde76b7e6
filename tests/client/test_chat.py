"""A chat without an orchestrator: the pipeline and the seed that a question becomes, and the answer."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from po_jupyter.client.chat import ChatArguments, chat
from po_jupyter.errors import Forbidden, OutputInvalid, PoError
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.run.view import RunView
from tests.support.runs import run_view


class AnsweredRun:
    """A run that has ended with `output`."""

    def __init__(self, output: object, state: str) -> None:
        self.outputs = {"chat": output}
        self.state = state
        self.short = "7f3a9c"
        self.usage = Usage(calls=1)
        self.waited: float | None = None

    def follow(self) -> list[RunView]:
        return [run_view(), run_view(state=self.state)]

    def wait(self, timeout: float | None = None) -> None:
        self.waited = timeout

    def raise_for_error(self) -> None:
        pass

    def calls(self, task: str) -> list[dict[str, Any]]:
        return [{"model": None}, {"model": "fake:echo"}]


class FakeSubmits:
    """A client that answers each submitted run at once."""

    def __init__(self, output: object = "hello", state: str = "done") -> None:
        self.run = AnsweredRun(output, state)
        self.pipeline: Pipeline | None = None
        self.seed: Any = None
        self.options: dict[str, Any] = {}

    def submit(self, pipeline: Pipeline, seed: Any = None, **options: Any) -> Any:
        self.pipeline, self.seed, self.options = pipeline, seed, options
        return self.run


def test_a_question_travels_in_the_seed() -> None:
    """P6: no text of a question is a template."""
    submits = FakeSubmits()
    options = ChatArguments(
        system="Be {{ brief }}.", temperature=0.5, images=["https://x/a.png"], tools=["files.add"]
    )
    answer = chat("What is {{ 7 * 6 }}?", options, submits)
    assert (answer.text, answer.value, answer.model, answer.run) == ("hello", None, "fake:echo", submits.run)
    assert submits.seed == {
        "prompt": "What is {{ 7 * 6 }}?",
        "system": "Be {{ brief }}.",
        "images": ["https://x/a.png"],
    }
    assert submits.pipeline is not None
    task = submits.pipeline.task("chat")
    assert (task.prompt, task.system, task.tools) == ("{{ seed.prompt }}", "{{ seed.system }}", ("files.add",))
    assert submits.pipeline.llm.temperature == 0.5


def test_messages_keep_their_roles() -> None:
    submits = FakeSubmits()
    turns = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two {{ x }}"},
        {"role": "user", "content": "three"},
    ]
    chat(turns, ChatArguments(), submits)
    assert submits.pipeline is not None
    prompt = submits.pipeline.task("chat").prompt
    assert not isinstance(prompt, str) and prompt is not None
    assert [turn.role for turn in prompt] == ["user", "assistant", "user"]
    assert submits.seed == {"messages": ["one", "two {{ x }}", "three"]}


def test_an_answer_of_a_schema_has_its_text_and_its_value() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    answer = chat("x", ChatArguments(schema=schema), FakeSubmits({"a": 1}))
    assert (answer.text, answer.value) == ('{"a": 1}', {"a": 1})


def test_options_of_the_run_and_of_the_wait_go_where_they_belong() -> None:
    submits = FakeSubmits()
    seen: list[str] = []
    options = ChatArguments(
        budget=2.0, fresh=True, skip_validation=True, timeout=3.0, watch=lambda view: seen.append(view.state)
    )
    chat("x", options, submits)
    assert submits.options == {"budget": 2.0, "fresh": True, "skip_validation": True}
    assert submits.run.waited == 3.0
    assert seen == ["running", "done"]


def test_a_run_that_ended_otherwise_has_no_answer() -> None:
    with pytest.raises(PoError, match="run 7f3a9c of chat ended cancelled") as caught:
        chat("x", ChatArguments(), FakeSubmits(state="cancelled"))
    assert "po show 7f3a9c" in caught.value.hint


class Short(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def _is_short(cls, text: str) -> str:
        assert len(text) < 4, "too long"
        return text


def test_the_validators_of_a_class_go_along() -> None:
    """A3: where the run works they judge before the answer counts, and are asked again."""
    submits = FakeSubmits({"text": "abc"})
    answer = chat("x", ChatArguments(schema=Short), submits)
    assert answer.value == Short(text="abc")
    assert submits.pipeline is not None
    task = submits.pipeline.task("chat")
    assert task.output_type is not None
    assert "Short" in task.output_type
    assert task.cache is None


def test_what_cannot_go_along_is_judged_here_and_not_kept() -> None:
    """A3: a wrong answer is an error here, and answers no later run."""
    connection = object()

    class Uses(BaseModel):
        text: str

        @field_validator("text")
        @classmethod
        def _check(cls, text: str) -> str:
            assert text != "wrong", connection
            return text

    submits = FakeSubmits({"text": "wrong"})
    with pytest.raises(OutputInvalid):
        chat("x", ChatArguments(schema=Uses), submits)
    assert submits.pipeline is not None
    task = submits.pipeline.task("chat")
    assert (task.output_type, task.cache) == (None, False)


class NoCode(FakeSubmits):
    """An orchestrator that runs no code which comes with a pipeline."""

    def submit(self, pipeline: Pipeline, seed: Any = None, **options: Any) -> Any:
        if any(task.carries_code for task in pipeline.tasks):
            raise Forbidden("no code here")
        return super().submit(pipeline, seed, **options)


def test_without_the_scope_for_code_a_class_judges_here() -> None:
    submits = NoCode({"text": "abc"})
    assert chat("x", ChatArguments(schema=Short), submits).value == Short(text="abc")
    assert submits.pipeline is not None
    assert submits.pipeline.task("chat").cache is False
    submits = NoCode({"text": "abcd"})
    with pytest.raises(OutputInvalid, match="too long"):
        chat("x", ChatArguments(schema=Short), submits)


def test_null_is_a_value() -> None:
    """A4."""
    answer = chat("x", ChatArguments(schema=Short | None), FakeSubmits(None))
    assert (answer.value, answer.text) == (None, "null")
