"""Chat calls are checked before anything is sent; answers are read by their schema."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.engine.chat.chat_call import chat_call_of, messages_of, read_value
from po_jupyter.errors import AnswerUnreadable, InvalidInput, OutputInvalid
from po_jupyter.llm.chat import ChatRequest, Message

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class Calls:
    """Makes requests; `images_needed` counts checks of the model."""

    images_needed = 0

    def request(self, messages: tuple[Message, ...], **fields: Any) -> ChatRequest:
        settings = {name: value for name, value in fields.items() if value is not None}
        return ChatRequest(settings.pop("model", "fake:echo"), messages, **settings)

    def need_images(self, request: ChatRequest) -> None:
        self.images_needed += 1

    def toolbox(self, tools: Any) -> Any:
        return tools


def call(prompt: Any = "hi", **options: Any) -> Any:
    calls: Any = Calls()
    return chat_call_of(calls, prompt, options)


def test_options_become_fields_of_the_request() -> None:
    made = call(system="be brief", model="fake:other", max_tokens=7, schema=SCHEMA, tools=[len])
    assert made.request.model == "fake:other"
    assert made.request.max_tokens == 7
    assert [m.role for m in made.request.messages] == ["system", "user"]
    assert (made.tools, made.rounds) == ([len], 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temprature": 1}, "did you mean"),
        ({"max_tool_rounds": 0}, "from 1 to 100"),
        ({"cache": "no"}, "True, False or 'refresh'"),
        ({"system": 1}, "`system` is text"),
        ({"images": "a.png"}, "`images` is a list, not str"),
        ({"tools": {"a": 1}}, "`tools` is a list, not dict"),
    ],
)
def test_an_option_that_is_wrong_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        call(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize("prompt", [3, [], [{"role": "robot", "content": "x"}], ["x"], [{"role": "user"}]])
def test_prompts_that_are_none(prompt: Any) -> None:
    with pytest.raises(InvalidInput):
        messages_of(prompt)


def test_turns_of_a_chain_are_messages_again() -> None:
    turn = Message("tool", "5", tool_call_id="1")
    assert messages_of([turn.to_json()]) == (turn,)


def test_an_answer_is_read_by_what_was_requested() -> None:
    assert read_value(call(), "{}") is None
    assert read_value(call(json=True), "[1]") == [1]
    assert read_value(call(schema=SCHEMA), '{"n": 1}') == {"n": 1}
    assert read_value(call(schema={"type": "string"}), "plain") == "plain"
    with pytest.raises(AnswerUnreadable):
        read_value(call(schema=SCHEMA), "plain")
    with pytest.raises(OutputInvalid):
        read_value(call(schema=SCHEMA), '{"n": "x"}')
