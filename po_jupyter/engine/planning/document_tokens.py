"""The tokens of a task's documents in an estimate: those in the seed as `data:` URLs are counted by pages."""

from __future__ import annotations

from collections.abc import Mapping

from po_jupyter.engine.files.documents import bytes_of
from po_jupyter.engine.files.pdf_pages import pages_of
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.errors import InvalidInput
from po_jupyter.llm.money.tokens import page_bound
from po_jupyter.model.values.json import JsonValue

_MOST_READ = 20  # documents; the rest are taken to be like them


class DocumentTokens:
    """The documents of a task, at the most tokens of a page with its model. `are_known`: all were in the seed."""

    def __init__(self, prompt: PromptTask, model: str) -> None:
        """None is read yet."""
        self._prompt = prompt
        self._page = page_bound(model)
        self._read = self._pages = 0
        self.are_known = True

    def tokens(self, names: Mapping[str, JsonValue]) -> int:
        """The tokens of the documents of one prompt. Raises TemplateFailed."""
        return sum(self._page * self._pages_of(file.text) for file in self._prompt.files(names))

    def _pages_of(self, text: str) -> int:
        if not text.startswith("data:"):
            self.are_known = False
            return 0
        if self._read >= _MOST_READ:
            return -(-self._pages // self._read)
        try:
            pages = pages_of(bytes_of(text))
        except InvalidInput:  # its row will fail, and ask nothing
            pages = 0
        self._read += 1
        self._pages += pages
        return pages
