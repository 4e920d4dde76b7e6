"""The model calls of one attempt of a task or a row: settings, cache policy, budget, journal, live text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, TypedDict

from po_jupyter.config import Settings
from po_jupyter.engine.base.answer_bounds import default_answer_bound, hashed_answer_bound
from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.base.threads import Threads
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.calls.cache_policy import cache_mode
from po_jupyter.engine.calls.reservation import CallReservation
from po_jupyter.engine.files.artifacts import RunFiles
from po_jupyter.engine.ports import ArtifactReader, Boundary, CallFrame, EventLog, Observer
from po_jupyter.engine.tools.toolbox import RemoteTools, Toolbox
from po_jupyter.errors import InvalidInput, ModelError, ModelRateLimited
from po_jupyter.llm.audio import kind_of
from po_jupyter.llm.calls.journal import SCORE_STAGE
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.calls.pending_call import OnAgain, PendingCall
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message, OnText
from po_jupyter.llm.providers.refs import files_problem, images_problem, logprobs_problem
from po_jupyter.model.pipeline.pipeline import LLM, CallRetry, Task
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.model.run.usage import Usage

_DEFAULT_RETRY = CallRetry()
_FIELDS = tuple(field.name for field in fields(ChatRequest) if field.init)


class StreamedText(TypedDict):
    """A piece of an answer as it comes, for clients that watch the run. It is in no log."""

    task: str
    text: str
    round: int
    attempt: int


_WAITS_FOR = {
    "hub": "the hub, which does not answer now",
    "token": "a token that the hub knows",
    "limit": "a limit of the hub's gateway",
}


def retry_event(
    task: str, index: int | None, provider: str, attempt: int, delay: float, error: ModelError, *, stage: str
) -> EventDraft:
    """The `call.retry` of try `attempt`, which failed with `error` and is followed by another in `delay` seconds."""
    reason = f"{provider} ({error.code.removeprefix('model_').replace('_', ' ')})"
    return draft(
        "call.retry",
        task,
        index,
        attempt=attempt,
        delay=round(delay, 2),
        seconds=round(delay, 2),
        reason=_WAITS_FOR.get(error.waits_for or "", reason),
        error={"code": error.code, "message": error.message},
        stage=stage,
    )


class ModelSettings:
    """The model settings of a task, resolved once: run over task over pipeline over settings."""

    __slots__ = ("_fields", "base", "retry")

    def __init__(
        self, llm: LLM, model: str, settings: Settings, *, embed: bool = False, logprobs: bool = False
    ) -> None:
        """The settings `llm` of `model`; `base` is what every request begins with, without messages. `embed`: for
        vectors, which have no settings of answers. `logprobs` come with each answer."""
        timeout = llm.timeout or settings.request_timeout
        self.base = (
            ChatRequest(model, (), timeout=timeout, embed=True)
            if embed
            else ChatRequest(
                model,
                (),
                temperature=llm.temperature,
                max_tokens=llm.max_tokens or default_answer_bound(model, settings),
                max_thinking_tokens=llm.max_thinking_tokens,
                hashed_max_tokens=None if llm.max_tokens else hashed_answer_bound(settings),
                stop=tuple(llm.stop or ()),
                timeout=timeout,
                api=llm.api,
                seed=llm.seed,
                effort=llm.effort,
                service_tier=llm.service_tier,
                logprobs=logprobs,
            )
        )
        self._fields = {name: getattr(self.base, name) for name in _FIELDS}
        self.retry = llm.retry or _DEFAULT_RETRY

    @classmethod
    def of(cls, inputs: RunInputs, task: Task, number: int = 0) -> ModelSettings:
        """The settings of `task`, of a cascade those of that model."""
        llm, model = inputs.llms_of(task)[number], inputs.model_of(task, number)
        if task.mode == "batch" and llm.service_tier is not None:
            llm = llm.model_copy(update={"service_tier": None})  # a batch has a price of its own
        # The last model of a cascade may be one that gives none: nothing is decided by its answer.
        logprobs = task.confidence is not None and logprobs_problem(model, llm.effort) is None
        return cls(llm, model, inputs.settings, embed=task.embed is not None, logprobs=logprobs)

    @classmethod
    def of_judges(cls, inputs: RunInputs, task: Task) -> dict[int, ModelSettings]:
        """The settings of the judges of `task`, by the number of the scorer."""
        llms = {n: inputs.judge_llm(task, s) for n, s in enumerate(task.scorers) if s.judge is not None}
        return {n: cls(llm, llm.model or "", inputs.settings) for n, llm in llms.items()}

    def request(self, **fields: Any) -> ChatRequest:
        """`base` with other fields, as `replace` makes it: that would ask the class for its fields each time."""
        return ChatRequest(**{**self._fields, **fields})


@dataclass(slots=True, eq=False)
class CallParts:
    """The parts that the calls of all attempts of a run share.

    chat      journal, cache, retries   budget    None: nothing is limited (a task that is added may bring one)
    files     for images and documents by name        threads, mcp   for tools
    watched   whether somebody reads along: text is streamed to `publish` only then
    """

    inputs: RunInputs
    log: EventLog
    boundary: Boundary
    chat: JournaledChat
    budget: BudgetGuard | None
    files: RunFiles
    threads: Threads
    mcp: RemoteTools
    observer: Observer
    watched: Callable[[], bool]
    publish: Callable[[StreamedText], None]


class AttemptCalls:
    """The calls of one attempt: journal, cache, budget, retries and live text. Implements `ModelCalls`.

    `again`: the attempt is not the first, so the cache answers nothing. `scope` has its calls in the journal.
    """

    __slots__ = ("_again", "_judges", "_parts", "_settings", "_settings_of", "_stage", "scope")

    def __init__(
        self,
        parts: CallParts,
        task: Task,
        settings: ModelSettings | Sequence[ModelSettings],
        *,
        attempt: int,
        item: int | None = None,
        again: bool = False,
        judges: Mapping[int, ModelSettings] = MappingProxyType({}),
    ) -> None:
        """The calls of attempt `attempt` of `task`, or of its row `item`. `settings` are several of a cascade, `judges`
        those of its scorers by number."""
        self._parts = parts
        self._again = again
        self._settings_of = (settings,) if isinstance(settings, ModelSettings) else settings
        self._settings = self._settings_of[0]
        self._judges = judges
        self._stage: str | None = None  # in the place of that which is named
        self.scope = parts.chat.scope(task.name, item=item, attempt=attempt)

    @property
    def model(self) -> str:
        """The model ref of the task."""
        return self._settings.base.model

    @property
    def models(self) -> int:
        """See `ModelCalls`."""
        return len(self._settings_of)

    def of_model(self, number: int) -> AttemptCalls:
        """See `ModelCalls`."""
        calls = copy(self)  # in the same scope
        calls._settings = self._settings_of[number]
        return calls

    def judge(self, number: int) -> AttemptCalls:
        """See `ModelCalls`."""
        calls = copy(self)  # in the same scope
        calls._settings, calls._settings_of = self._judges[number], (self._judges[number],)
        calls._stage = SCORE_STAGE
        return calls

    @property
    def usage(self) -> Usage:
        """Usage of the calls so far; a call whose outcome is lost counts as unknown."""
        lost = self.scope.in_flight
        return self.scope.usage + Usage(calls=lost, unknown=lost) if lost else self.scope.usage

    @property
    def addresses(self) -> Mapping[str, str]:
        """Hashes of where the models of the calls were asked, by model ref."""
        return self.scope.addresses

    @property
    def lost(self) -> int:
        """Calls that were stopped before their answer came: unknown, once the attempt is over."""
        return self.scope.in_flight

    def keep(self) -> None:
        """The attempt succeeded: later runs may use its answers."""
        self.scope.keep_answers()

    def drop(self) -> None:
        """The attempt failed: no later run uses its answers."""
        self.scope.drop_answers()

    def request(self, messages: tuple[Message, ...], **fields: Any) -> ChatRequest:
        """A request with these fields (of `ChatRequest`), the rest from the task's settings; None is left out."""
        fields = {name: value for name, value in fields.items() if value is not None}
        if "max_tokens" in fields:
            fields["hashed_max_tokens"] = None
        return self._settings.request(messages=messages, **fields)

    def need_images(self, request: ChatRequest) -> None:
        """Check that the model's provider takes images. Raises InvalidInput."""
        if (problem := images_problem(request.model)) is not None:
            raise InvalidInput(problem)

    def need_files(self, request: ChatRequest) -> None:
        """Check that the model takes the files of a request, and any where it has none yet. Raises InvalidInput."""
        kinds = [kind_of(file) for m in request.messages for file in m.files]
        if (problem := files_problem(request.model, kinds)) is not None:
            raise InvalidInput(problem)

    def files(self) -> ArtifactReader:
        """The artifacts of the run as they are now, and what came with its seed."""
        return self._parts.files.now()

    def toolbox(self, tools: Sequence[Any]) -> Toolbox:
        """Functions and names of the run's MCP tools, as tools of one question. Raises InvalidInput."""
        return Toolbox(tools, self._parts.threads.run, self._parts.mcp)

    def follow_up(self, request: ChatRequest, answer: ChatResponse, question: str) -> ChatRequest:
        """The request that follows an answer which did not fit."""
        return request.then(answer.message, Message("user", question))

    def open_call(
        self, request: ChatRequest, *, stage: str, frame: CallFrame, answered: bool = False
    ) -> PendingCall:
        """The next call of the attempt, with its number and its slot in the cache; nothing is sent.

        `answered`: its answer came with a batch, so the cache gets it and does not answer. Raises an Interrupt.
        """
        parts = self._parts
        parts.boundary.checkpoint()
        stage = self._stage or stage
        mode = cache_mode(frame.task, parts.inputs.options, again=self._again, requested=request.cache)
        if answered and mode is True:
            mode = "refresh"
        return self.scope.next_call(request, stage=stage, round=frame.round, cache=mode)

    async def chat(
        self,
        request: ChatRequest,
        *,
        stage: str,
        frame: CallFrame,
        stream: bool = False,
        retry: CallRetry | None = None,
        on_text: OnText | None = None,
    ) -> ChatResponse:
        """Ask, or replay. `retry` stands for the task's `llm.retry`, the request's `cache` for the task's.

        `on_text` gets the pieces of the answer as they come, and "" where a broken one begins anew.

        Raises ModelError or BudgetExceeded, and an Interrupt before anything is sent.
        """
        parts = self._parts
        begun_anew = on_text
        call = self.open_call(request, stage=stage, frame=frame)
        on_text = self._on_text(frame, on_text) if stream and self._stage is None else on_text
        recalled = await self.scope.find_answer(call, on_text=on_text)
        if recalled is not None:
            return recalled  # it was paid for: it needs no room in any budget
        if call.slot is not None:
            parts.boundary.checkpoint()  # the cache took its time
        if parts.budget is None:
            return await self._send(call, frame, on_text, retry, begun_anew)
        async with CallReservation(parts.budget, self.scope, frame, request) as reservation:
            call.request = reservation.request
            return reservation.answered(
                await self._send(call, frame, on_text, retry, begun_anew, reservation.renew)
            )

    def _on_text(self, frame: CallFrame, then: OnText | None) -> OnText | None:
        parts = self._parts
        # Pieces of answers that come at the same time would only mix.
        if frame.index is not None or self.scope.in_flight or not parts.watched():
            return then

        def on_text(piece: str) -> None:
            parts.publish(
                {"task": frame.task.name, "text": piece, "round": frame.round, "attempt": frame.attempt}
            )
            if then is not None:
                then(piece)

        return on_text

    async def _send(
        self,
        call: PendingCall,
        frame: CallFrame,
        on_text: OnText | None,
        retry: CallRetry | None,
        begun_anew: OnText | None,
        on_again: OnAgain | None = None,
    ) -> ChatResponse:
        """Send a call that nothing has an answer to, with its retries."""
        log, observer = self._parts.log, self._parts.observer
        task, request, stage = frame.task.name, call.request, call.key.stage

        def on_wait(attempt: int, delay: float, error: ModelError) -> None:
            if begun_anew is not None:
                begun_anew("")
            if isinstance(error, ModelRateLimited):
                frame.extend(delay)
            observer.on_call_retry(frame, stage, attempt, error)
            log.emit(retry_event(task, frame.index, request.provider, attempt, delay, error, stage=stage))

        response: ChatResponse | None = None
        ended_by: BaseException | None = None
        observer.on_call_start(frame, stage, request)
        try:
            response = await self.scope.send(
                call,
                retry=retry or self._settings.retry,
                on_text=on_text,
                on_wait=on_wait,
                on_again=on_again,
                waiting=frame.waiting,
            )
            if frame.task.kind == "python" or frame.task.output_type is not None:
                await log.flush()  # code of the user's sees it next, and that may hang or end this process
            return response
        except BaseException as error:
            ended_by = error
            raise
        finally:
            usage = response.usage if response is not None else None
            observer.on_call_end(frame, stage, request, response, usage, ended_by)
