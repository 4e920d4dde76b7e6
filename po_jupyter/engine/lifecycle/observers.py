"""Several observers as one: each is told in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from po_jupyter.engine.ports import CallFrame, Observer
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.usage import Usage

if TYPE_CHECKING:
    from po_jupyter.llm.chat import ChatRequest, ChatResponse


class Observers(Observer):
    """An Observer that hands everything on to others."""

    __slots__ = ("_observers",)

    def __init__(self, *observers: Observer) -> None:
        """In the order in which they are told."""
        self._observers = observers

    def on_task_start(self, task: Task, attempt: int) -> None:
        """Hand it on."""
        for observer in self._observers:
            observer.on_task_start(task, attempt)

    def on_task_end(
        self, task: Task, attempt: int, seconds: float, usage: Usage, error: BaseException | None
    ) -> None:
        """Hand it on."""
        for observer in self._observers:
            observer.on_task_end(task, attempt, seconds, usage, error)

    def on_map_start(self, task: Task, rows: int) -> None:
        """Hand it on."""
        for observer in self._observers:
            observer.on_map_start(task, rows)

    def on_row_start(self, task: Task, index: int, attempt: int) -> None:
        """Hand it on."""
        for observer in self._observers:
            observer.on_row_start(task, index, attempt)

    def on_row_end(
        self, task: Task, index: int, attempt: int, usage: Usage, error: BaseException | None
    ) -> None:
        """Hand it on."""
        for observer in self._observers:
            observer.on_row_end(task, index, attempt, usage, error)

    def on_call_start(self, frame: CallFrame, stage: str, request: ChatRequest) -> None:
        """Hand it on."""
        for observer in self._observers:
            observer.on_call_start(frame, stage, request)

    def on_call_retry(self, frame: CallFrame, stage: str, tries: int, error: Exception) -> None:
        """Hand it on."""
        for observer in self._observers:
            observer.on_call_retry(frame, stage, tries, error)

    def on_call_end(
        self,
        frame: CallFrame,
        stage: str,
        request: ChatRequest,
        response: ChatResponse | None,
        usage: Usage | None,
        error: BaseException | None,
    ) -> None:
        """Hand it on."""
        for observer in self._observers:
            observer.on_call_end(frame, stage, request, response, usage, error)
