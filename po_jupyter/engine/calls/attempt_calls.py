"""What one attempt of a task, or of a row, asks of models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from po_jupyter.engine.budgets.budget import Hold, reserved
from po_jupyter.engine.calls.cache_policy import cache_mode
from po_jupyter.engine.files.images import Files
from po_jupyter.engine.lifecycle import failure_log as telling
from po_jupyter.engine.replay.spending import Amount, amount_of
from po_jupyter.engine.tools.toolbox import Toolbox
from po_jupyter.errors import InvalidInput, ModelError, ModelRateLimited
from po_jupyter.llm.calls.journaled_chat import OnAgain
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message, OnText
from po_jupyter.llm.providers.registry import no_images
from po_jupyter.model.pipeline.pipeline import LLM, CallRetry, Task
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.usage import Usage

if TYPE_CHECKING:
    from po_jupyter.engine.lifecycle.stages import Frame
    from po_jupyter.engine.run.session import Work
    from po_jupyter.llm.calls.pending_call import PendingCall

_DEFAULT_RETRY = CallRetry()


class ModelSettings:
    """The model settings of a task, resolved once: run over task over pipeline over settings."""

    __slots__ = ("base", "retry")

    def __init__(self, work: Work, task: Task) -> None:
        llm: LLM = work.pipeline.llm_of(task)
        # What every request of the task begins with; it has no messages yet.
        self.base = ChatRequest(
            work.options.get("model") or llm.model or work.settings.default_model,
            (),
            temperature=llm.temperature,
            max_tokens=llm.max_tokens or work.settings.default_max_tokens,
            stop=tuple(llm.stop or ()),
            timeout=llm.timeout or work.settings.request_timeout,
            api=llm.api,
            seed=llm.seed,
            effort=llm.effort,
        )
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
    def model(self) -> str:
        """The model ref that the task asks."""
        return self._settings.base.model

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
        self._scope.keep_answers()

    def drop(self) -> None:
        """The attempt failed: nobody gets its answers."""
        self._scope.drop_answers()

    def request(self, messages: tuple[Message, ...], **given: Any) -> ChatRequest:
        """A request of these fields (of `ChatRequest`), the rest from the task's settings; None is left out."""
        return replace(
            self._settings.base,
            messages=messages,
            **{name: value for name, value in given.items() if value is not None},
        )

    def need_images(self, request: ChatRequest) -> None:
        """The model's provider takes images. Raises InvalidInput."""
        if (problem := no_images(request.model)) is not None:
            raise InvalidInput(problem)

    def files(self) -> Files:
        """The artifacts of the run as they are now, and what came with its seed."""
        return self._work.files.now()

    def toolbox(self, given: Sequence[Any]) -> Toolbox:
        """These tools, functions and names of the run's MCP servers. Raises InvalidInput."""
        return Toolbox(given, self._work.threads.run, self._work.mcp)

    def again(self, request: ChatRequest, answer: ChatResponse, words: str) -> ChatRequest:
        """The request that follows an answer which did not fit."""
        return request.then(answer.message, Message("user", words))

    async def chat(
        self,
        request: ChatRequest,
        *,
        stage: str,
        frame: Frame,
        stream: bool = False,
        retry: CallRetry | None = None,
        on_text: OnText | None = None,
    ) -> ChatResponse:
        """Ask, or replay. `retry` stands for the task's `llm.retry`, the request's `cache` for the task's.

        `on_text` gets the pieces of the answer as they come, and "" where a broken one begins anew.

        Raises ModelError or BudgetExceeded, and an Interrupt before anything is sent.
        """
        work = self._work
        work.checkpoint()
        mode = cache_mode(frame.task, work.options, again=self._again, given=request.cache)
        begun_anew = on_text
        call = self._scope.next_call(request, stage=stage, round=frame.round, cache=mode)
        on_text = self._on_text(frame, on_text) if stream else on_text
        known = await self._scope.find_answer(call, on_text=on_text)
        if known is not None:
            return known  # it was paid for: it needs no room in any budget
        if mode:
            work.checkpoint()  # the cache took its time
        if work.budget is None:
            return await self._ask(call, frame, on_text, retry, begun_anew)
        budget = work.budget
        hold: Hold | None
        with frame.waiting():
            hold = await budget.reserve(request, frame.task.name)
        token = reserved.set(hold.worst)
        tries = Amount()  # what is known of those that were settled

        async def again(error: ModelError) -> None:
            nonlocal hold, tries
            assert hold is not None
            said = error.usage
            usage = Usage.model_validate(said) if said else None
            tries = tries.plus(amount_of(said, hold.worst))
            over, hold = hold, None
            with frame.waiting():
                hold = await budget.renew(over, usage)

        before = self._scope.usage
        used: Usage | None = None
        try:
            response = await self._ask(call, frame, on_text, retry, begun_anew, again)
            used = response.usage
            return response
        except ModelError as error:
            said = error.usage
            used = Usage.model_validate(said) if said else Usage(calls=1)
            raise
        finally:
            if used is None and self._scope.usage is before and not self._scope.in_flight:
                used = self._scope.take_withdrawn_usage()  # stopped while nothing of it was in flight
            reserved.reset(token)
            if hold is not None:
                budget.settle(hold, used, before=tries)

    def _on_text(self, frame: Frame, handed: OnText | None) -> OnText | None:
        work = self._work
        # Pieces of answers that come at the same time would only mix.
        if frame.index is not None or self._scope.in_flight or not work.watched():
            return handed

        def on_text(piece: str) -> None:
            said = {"task": frame.task.name, "text": piece, "round": frame.round, "attempt": frame.attempt}
            work.say(said)
            if handed is not None:
                handed(piece)

        return on_text

    async def _ask(
        self,
        call: PendingCall,
        frame: Frame,
        on_text: OnText | None,
        retry: CallRetry | None,
        handed: OnText | None,
        again: OnAgain | None = None,
    ) -> ChatResponse:
        work = self._work
        task, request, stage = frame.task.name, call.request, call.key.stage

        def on_wait(attempt: int, delay: float, error: ModelError) -> None:
            if handed is not None:
                handed("")
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

        return await self._scope.send(
            call,
            retry=retry or self._settings.retry,
            on_text=on_text,
            on_wait=on_wait,
            on_again=again,
            waiting=frame.waiting,
        )
