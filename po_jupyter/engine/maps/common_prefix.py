"""The common prefix of a map's requests: how far the first messages of its rows are the same.

A provider with marks for its cache (Anthropic) has it read once and then pays a tenth for it; the others look for it
themselves, and the mark says nothing to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonprefix

from po_jupyter.llm.chat import Message


class CommonPrefix:
    """The texts that the turns of every row begin with, found by comparing some rows."""

    __slots__ = ("_texts",)

    def __init__(self, rows: Sequence[Sequence[Message]]) -> None:
        """Compare the messages of `rows`."""
        self._texts: list[str] = []
        for turns in zip(*rows, strict=False):
            if len({turn.role for turn in turns}) != 1:
                break
            text = commonprefix([turn.content for turn in turns])  # noqa: RUF071 - by character is what is meant
            whole = all(turn.content == text for turn in turns)
            if not whole:
                # Not in the middle of a word: the next row may begin with half of it.
                text = text[: max(text.rfind(" "), text.rfind("\n")) + 1]
            self._texts.append(text)
            if not whole:
                break

    def mark(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The messages with what they share (`Message.shared`); those of a row that begins otherwise as they are."""
        marked: list[Message] = []
        for message, text in zip(messages, self._texts, strict=False):
            if not message.content.startswith(text):
                return messages
            marked.append(message.sharing(len(text)))
            if len(text) < len(message.content):
                break
        return (*marked, *messages[len(marked) :])
