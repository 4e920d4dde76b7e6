"""`ctx.llm.chain`: a conversation that remembers its turns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Unpack

from po_jupyter.engine.chat.chat_call import (
    ChatCall,
    ChatOptions,
    chat_call_of,
    check_option_names,
    messages_of,
)
from po_jupyter.engine.chat.starter import CallStarter
from po_jupyter.engine.ports import ModelCalls
from po_jupyter.errors import InvalidInput
from po_jupyter.llm.chat import Message
from po_jupyter.model.run.answer import Answer
from po_jupyter.model.values.json import JsonObject, JsonValue

# Makes a call: the answer, and all turns of the conversation with it.
Converse = Callable[[ChatCall], Awaitable[tuple[Answer, tuple[Message, ...]]]]


class Chain:
    """A conversation. A call that fails leaves it as it was."""

    def __init__(
        self,
        starter: CallStarter,
        calls: ModelCalls,
        converse: Converse,
        messages: Sequence[Mapping[str, JsonValue]],
        options: Mapping[str, JsonValue],
    ) -> None:
        """A conversation that goes on from `messages`; `options` are those of each of its calls."""
        self._starter = starter
        self._calls = calls
        self._converse = converse
        self._options = {name: value for name, value in options.items() if name != "system"}
        system = options.get("system")
        self._turns = messages_of(messages) if messages else ()
        if system is not None:
            if any(turn.role == "system" for turn in self._turns):
                raise InvalidInput("the messages have a system message already")
            if not isinstance(system, str):
                raise InvalidInput(f"`system` is text, not {type(system).__name__}")
            self._turns = (Message("system", system), *self._turns)
        self._busy = False

    def __repr__(self) -> str:
        """The number of turns."""
        return f"<chain of {len(self._turns)} messages>"

    @property
    def messages(self) -> list[JsonObject]:
        """The turns so far as JSON, those of tools too; `ctx.llm.chain(messages=...)` goes on from them."""
        return [turn.to_json() for turn in self._turns]

    def ask(self, prompt: str | Sequence[Mapping[str, JsonValue]], **options: Unpack[ChatOptions]) -> Any:
        """The `Answer` to the next prompt; the model gets all turns before it. `options` as in `chat`."""
        check_option_names(options)
        if "system" in options:
            raise InvalidInput("`system` belongs to the chain: ctx.llm.chain(system=...)")
        turns = [*self.messages, *(turn.to_json() for turn in messages_of(prompt))]
        call = chat_call_of(self._calls, turns, {**self._options, **options})
        return self._starter.run(self._ask(call))

    async def _ask(self, call: ChatCall) -> Answer:
        if self._busy:
            raise InvalidInput(
                "the chain is being asked already",
                hint="One question after the other; ctx.llm.parallel asks many that do not know of each other.",
            )
        self._busy = True
        try:
            answer, self._turns = await self._converse(call)
        finally:
            self._busy = False
        return answer
