"""The tokens of a task's files in an estimate: those in the seed as `data:` URLs, by their pages or seconds."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from po_jupyter.engine.files.audio_length import seconds_of
from po_jupyter.engine.files.documents import bytes_of
from po_jupyter.engine.files.pdf_pages import pages_of
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.errors import InvalidInput
from po_jupyter.llm.audio import audio_format
from po_jupyter.llm.money.tokens import audio_bound, page_bound
from po_jupyter.model.values.json import JsonValue

_MOST_READ = 20  # documents; the rest are taken to be like them


class DocumentTokens:
    """The files of a task, at the most tokens of a page or a second with its model. `are_known`: all were in the seed.
    `heard` are the tokens of sound among those of the prompts so far."""

    def __init__(self, prompt: PromptTask, model: str) -> None:
        """None is read yet."""
        self._prompt = prompt
        self._model = model
        self._read = self._tokens = self._heard = 0
        self.heard = 0
        self.are_known = True

    def tokens(self, names: Mapping[str, JsonValue]) -> int:
        """The tokens of the files of one prompt. Raises TemplateFailed."""
        return sum(self._tokens_of(file.text) for file in self._prompt.files(names))

    def _tokens_of(self, text: str) -> int:
        if not text.startswith("data:"):
            self.are_known = False
            return 0
        if self._read >= _MOST_READ:
            self.heard += -(-self._heard // self._read)
            return -(-self._tokens // self._read)
        tokens = heard = 0
        with suppress(InvalidInput):  # its row will fail, and ask nothing
            data = bytes_of(text)
            if audio_format(data) is not None:
                tokens = heard = audio_bound(seconds_of(data), self._model)
            else:
                tokens = pages_of(data) * page_bound(self._model)
        self._read += 1
        self._tokens += tokens
        self._heard += heard
        self.heard += heard
        return tokens
