"""What one attempt of a task, or of a row, asks of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from po_jupyter.engine import telling
from po_jupyter.engine.budget import Hold, reserved
from po_jupyter.engine.caching import cache_mode
from po_jupyter.engine.spending import Amount, amount_of
from po_jupyter.errors import ModelError, ModelRateLimited
from po_jupyter.llm.chat import CacheMode, ChatRequest, ChatResponse, Message, OnText
from po_jupyter.model.event import draft
from po_jupyter.model.pipeline import LLM, CallRetry, Task
from po_jupyter.model.usage import Usage

if TYPE_CHECKING:
    from po_jupyter.engine.lifecycle import Frame
    from po_jupyter.engine.work import Work
    from po_jupyter.llm.journal import Asking, OnAgain

_DEFAULT_RETRY = CallRetry()


class ModelSettings:
    """The model settings of a task, resolved once: task over pipeline over settings."""

    __slots__ = ("api", "max_tokens", "model", "retry", "temperature", "timeout")

    def __init__(self, work: Work, task: Task) -> None:
        llm: LLM = work.pipeline.llm_of(task)
        self.model: str = work.options.get("model") or llm.model or work.settings.default_model
        self.temperature = llm.temperature
        self.max_tokens = llm.max_tokens or work.settings.default_max_tokens
        self.timeout = llm.timeout or work.settings.request_timeout
        self.api = llm.api
        self.retry = llm.retry or _DEFAULT_RETRY


class Calls:
    """Journal, cache, budget, retries and streamed text of one attempt.

    `again`: it is not the first, so the cache answers nothing.
    """

    __slots__ = ("_again", "_scope", "_settings", "_work")

    def __init__(
        self,
        work: Work,
        task: Task,
        settings: ModelSettings,
        *,
        attempt: int,
        item: int | None = None,
        again: bool = False,
    ) -> None:
        self._work = work
        self._again = again
        self._settings = settings
        self._scope = work.chat.scope(task.name, item=item, attempt=attempt)

    @property
    def usage(self) -> Usage:
        """What the calls used so far; a call whose outcome is lost counts as unknown."""
        lost = self._scope.in_flight
        return self._scope.usage + Usage(calls=lost, unknown=lost) if lost else self._scope.usage

    @property
    def lost(self) -> int:
        """Calls that were stopped before their answer came: unknown, once the attempt is over."""
        return self._scope.in_flight

    def keep(self) -> None:
        """The attempt succeeded: later runs may use its answers."""
        self._scope.keep()

    def drop(self) -> None:
        """The attempt failed: nobody gets its answers."""
        self._scope.drop()

    def request(
        self,
        messages: tuple[Message, ...],
        *,
        model: str | None = None,
        schema: Mapping[str, Any] | None = None,
        json: bool = False,
        temperature: float | None = None,
        max_tokens: int | None = None,
        stop: tuple[str, ...] = (),
        cache: CacheMode | None = None,
    ) -> ChatRequest:
        """A request with what is left out filled in from the task's settings."""
        defaults = self._settings
        return ChatRequest(
            model or defaults.model,
            messages,
            defaults.temperature if temperature is None else temperature,
            max_tokens or defaults.max_tokens,
            schema,
            json,
            stop,
            defaults.timeout,
            defaults.api,
            cache=cache,
        )

    def again(self, request: ChatRequest, answer: str, words: str) -> ChatRequest:
        """The request that follows an answer which did not fit."""
        return request.then(Message("assistant", answer), Message("user", words))

    async def chat(
        self,
        request: ChatRequest,
        *,
        stage: str,
        frame: Frame,
        stream: bool = False,
        retry: CallRetry | None = None,
    ) -> ChatResponse:
        """Ask, or replay. `retry` stands for the task's `llm.retry`, the request's `cache` for the task's.

        Raises ModelError or BudgetExceeded, and an Interrupt before anything is sent.
        """
        work = self._work
        work.checkpoint()
        mode = cache_mode(frame.task, work.options, again=self._again, given=request.cache)
        call = self._scope.call(request, stage=stage, round=frame.round, cache=mode)
        on_text = self._on_text(frame) if stream else None
        known = await self._scope.recall(call, on_text=on_text)
        if known is not None:
            return known  # it was paid for: it needs no room in any budget
        if mode:
            work.checkpoint()  # the cache took its time
        if work.budget is None:
            return await self._ask(call, frame, on_text, retry)
        budget = work.budget
        hold: Hold | None
        with frame.waiting():
            hold = await budget.reserve(request, frame.task.name)
        token = reserved.set(hold.worst)
        tries = Amount()  # what is known of those that were settled

        async def again(error: ModelError) -> None:
            nonlocal hold, tries
            assert hold is not None
            said = error.details.get("usage")
            usage = Usage.model_validate(said) if said else None
            tries = tries.plus(amount_of(said, hold.worst))
            over, hold = hold, None
            with frame.waiting():
                hold = await budget.renew(over, usage)

        before = self._scope.usage
        used: Usage | None = None
        try:
            response = await self._ask(call, frame, on_text, retry, again)
            used = response.usage
            return response
        except ModelError as error:
            said = error.details.get("usage")
            used = Usage.model_validate(said) if said else Usage(calls=1)
            raise
        finally:
            if used is None and self._scope.usage is before and not self._scope.in_flight:
                used = self._scope.given_up()  # stopped while nothing of it was in flight
            reserved.reset(token)
            if hold is not None:
                budget.settle(hold, used, before=tries)

    def _on_text(self, frame: Frame) -> OnText | None:
        work = self._work
        # Pieces of answers that come at the same time would only mix.
        if frame.index is not None or self._scope.in_flight or not work.watched():
            return None

        def on_text(piece: str) -> None:
            said = {"task": frame.task.name, "text": piece, "round": frame.round, "attempt": frame.attempt}
            work.say(said)

        return on_text

    async def _ask(
        self,
        call: Asking,
        frame: Frame,
        on_text: OnText | None,
        retry: CallRetry | None,
        again: OnAgain | None = None,
    ) -> ChatResponse:
        work = self._work
        task, request, stage = frame.task.name, call.request, call.key.stage

        def on_wait(attempt: int, delay: float, error: ModelError) -> None:
            if isinstance(error, ModelRateLimited):
                frame.extend(delay)
            telling.call_failed(work, frame.task, frame.attempt, stage, error, index=frame.index, tries=attempt)
            work.emit(
                draft(
                    "call.retry",
                    task,
                    frame.index,
                    attempt=attempt,
                    delay=round(delay, 2),
                    seconds=round(delay, 2),
                    reason=f"{request.provider} ({error.code.removeprefix('model_').replace('_', ' ')})",
                    error={"code": error.code, "message": error.message},
                    stage=stage,
                )
            )

        return await self._scope.ask(
            call, retry=retry or self._settings.retry, on_text=on_text, on_wait=on_wait, on_again=again
        )
