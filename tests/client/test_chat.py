"""A chat without an orchestrator: the pipeline and the seed that a question becomes, and the answer."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.client.chat import ChatArguments, chat
from po_jupyter.errors import PoError
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
