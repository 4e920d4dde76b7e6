"""What a stage function of a Python task gets: `ctx`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from po_jupyter.engine.interrupts import Stopped
from po_jupyter.engine.parallel import ask_all, retry_of
from po_jupyter.errors import InvalidInput, OutputInvalid
from po_jupyter.llm.chat import CacheMode, ChatRequest, Message
from po_jupyter.llm.structured import answer_schema, parse_json, reask
from po_jupyter.model.pipeline import CallRetry
from po_jupyter.model.usage import Usage

if TYPE_CHECKING:
    from po_jupyter.engine.calls import Calls
    from po_jupyter.engine.control import Control
    from po_jupyter.engine.io import TaskIo
    from po_jupyter.engine.lifecycle import Flags, Frame

_REQUEST = ("system", "model", "schema", "json", "temperature", "max_tokens", "stop", "cache")


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer: its text, the JSON value in it when JSON was asked for, and what it used."""

    text: str
    value: Any = None
    usage: Usage = field(default_factory=Usage)
    model: str = ""

    def __str__(self) -> str:
        return self.text


class Validators:
    """`ctx.validators`: each raises OutputInvalid, which starts a refinement in a validation stage."""

    def schema(self, value: Any, schema: Mapping[str, Any]) -> None:
        """`value` fits the JSON Schema."""
        found = answer_schema(schema).violations(value)
        if found:
            raise OutputInvalid(found[0], details={"violations": found})

    def require(self, condition: object, message: str) -> None:
        """`condition` is true."""
        if not condition:
            raise OutputInvalid(message)

    def json(self, text: str) -> Any:
        """The JSON value in a text. Raises AnswerUnreadable."""
        return parse_json(text)


class TaskLlm:
    """`ctx.llm`: calls are journaled, so that what was answered is never paid again after a crash.

    `await ctx.llm.chat(...)` in an async stage, `ctx.llm.chat(...)` in a sync one.
    """

    def __init__(self, calls: Calls, frame: Frame, stage: str) -> None:
        self._calls = calls
        self._frame = frame
        self._stage = stage
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._open: set[concurrent.futures.Future[Any]] = set()
        self._closed = False

    def chat(
        self,
        prompt: str | Sequence[Mapping[str, str]],
        *,
        system: str | None = None,
        model: str | None = None,
        schema: Mapping[str, Any] | None = None,
        json: bool = False,
        temperature: float | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        cache: CacheMode | None = None,
    ) -> Any:
        """An `Answer` to a prompt, or to messages `[{role, content}]`.

        With `schema` (or `json`) the answer's `value` is the JSON in it; an answer that does not fit is asked
        for again, `refine.max_attempts` times. What is left out comes from the task's and pipeline's `llm`. `cache`:
        whether an earlier run's answer to the same will do, as a task's `cache`.
        Raises a ModelError, OutputInvalid or AnswerUnreadable.
        """
        request = self._request(
            prompt,
            system=system,
            model=model,
            schema=schema,
            json=json,
            temperature=temperature,
            max_tokens=max_tokens,
            stop=stop,
            cache=cache,
        )
        return self._here_or_there(self._ask(request, stream=True))

    def parallel(
        self,
        requests: Iterable[str | Sequence[Mapping[str, str]] | Mapping[str, Any]],
        *,
        max_concurrency: int = 5,
        failure_threshold: float = 1.0,
        retry: CallRetry | Mapping[str, Any] | int | None = None,
    ) -> Any:
        """Many calls, at most `max_concurrency` at a time: `Results`, one for each request and in their order.

        A request is a prompt, messages, or a dict of what `chat` takes (`{"prompt": ..., "schema": ...}`). One that
        fails is a result with an `error`; only those are tried again, as `retry` says (a number of attempts, or the
        fields of `llm.retry`, which it stands for).
        When more than `failure_threshold` of them failed no new one is sent: ThresholdExceeded, whose `results` has
        what was answered. BudgetExceeded and ModelKeyError stop all of them likewise.
        Raises InvalidInput, naming the request, before anything is sent.
        """
        tries = retry_of(retry)
        made = [self._request_of(given, i) for i, given in enumerate(requests)]
        work = ask_all(
            [partial(self._ask, request, retry=tries) for request in made],
            max_concurrency=max_concurrency,
            failure_threshold=failure_threshold,
        )
        return self._here_or_there(work)

    def _request_of(self, given: Any, index: int) -> ChatRequest:
        try:
            if not isinstance(given, Mapping):
                return self._request(given)
            fields = dict(given)
            prompt = fields.pop("prompt", None) or fields.pop("messages", None)
            unknown = [name for name in fields if name not in _REQUEST]
            if prompt is None or unknown:
                what = f"`{unknown[0]}` is not a field of a request" if unknown else "it has no `prompt`"
                raise InvalidInput(what, hint=f"Fields: prompt or messages, {', '.join(_REQUEST)}.")
            return self._request(prompt, **fields)
        except InvalidInput as error:
            raise InvalidInput(f"request {index}: {error.message}", hint=error.hint) from None

    def _request(
        self,
        prompt: str | Sequence[Mapping[str, str]],
        *,
        system: str | None = None,
        model: str | None = None,
        schema: Mapping[str, Any] | None = None,
        json: bool = False,
        temperature: float | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        cache: CacheMode | None = None,
    ) -> ChatRequest:
        if not isinstance(prompt, Sequence):
            raise InvalidInput(f"a prompt is text or a list of messages, not {type(prompt).__name__}")
        if not (cache is None or isinstance(cache, bool) or cache == "refresh"):
            raise InvalidInput(f"`cache` is True, False or 'refresh', not {cache!r:.40}")
        given = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        if system is not None:
            given.insert(0, {"role": "system", "content": system})
        messages = tuple(_message(m) for m in given)
        return self._calls.request(
            messages,
            model=model,
            schema=schema,
            json=json,
            temperature=temperature,
            max_tokens=max_tokens,
            stop=tuple(stop),
            cache=cache,
        )

    def _here_or_there(self, work: Coroutine[Any, Any, Any]) -> Any:
        if threading.get_ident() == self._thread:
            return work
        if self._closed:
            work.close()
            raise Stopped
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._open.add(future)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise Stopped from None
        finally:
            self._open.discard(future)

    async def _ask(
        self, request: ChatRequest, *, stream: bool = False, retry: CallRetry | None = None
    ) -> Answer:
        from po_jupyter.errors import AnswerUnreadable

        checker = answer_schema(request.schema) if request.schema is not None else None
        rounds = 0
        while True:
            response = await self._calls.chat(
                request, stage=self._stage, frame=self._frame, stream=stream, retry=retry
            )
            if checker is None and not request.json:
                return Answer(response.text, None, response.usage, response.model)
            problem: AnswerUnreadable | OutputInvalid
            try:
                value = checker.read(response.text) if checker is not None else parse_json(response.text)
                found = checker.violations(value) if checker is not None else []
                if not found:
                    return Answer(response.text, value, response.usage, response.model)
                problem = OutputInvalid(found[0], details={"violations": found})
            except AnswerUnreadable as error:
                problem, found = error, [error.message]
            if rounds >= self._frame.task.refine.max_attempts:
                raise problem
            rounds += 1
            request = self._calls.again(request, response.text, reask(found))

    def close(self) -> None:
        """The stage is over: calls that it left behind are stopped."""
        self._closed = True
        for future in list(self._open):
            future.cancel()


def _message(given: Mapping[str, str]) -> Message:
    if not isinstance(given, Mapping):
        raise InvalidInput(f"a message is {{role, content}}, not {type(given).__name__}")
    role, content = given.get("role"), given.get("content")
    if role not in ("system", "user", "assistant") or not isinstance(content, str):
        raise InvalidInput(
            "a message is {role, content} with role system, user or assistant; "
            f"this one is {dict(given)!r:.120}"
        )
    return Message(role, content)  # type: ignore[arg-type]  # the check above is the type


@dataclass(slots=True, eq=False)
class Context:
    """`ctx` of one stage.

    seed        the seed's data           data    outputs of the stages so far, by stage
    tasks       outputs of earlier tasks  output  what the last stage that makes one returned
    control     adds tasks, skips later ones, asks for a decision
    item, index the row of a `for_each`   flags   typed; `needs_refinement` drives the refinement
    config      the task's                violations  why the last validation failed
    meta        run, pipeline, version, name, task, stage, attempt, round, index
    """

    seed: Any
    data: dict[str, Any]
    tasks: Mapping[str, Any]
    output: Any
    flags: Flags
    config: dict[str, Any]
    llm: TaskLlm
    io: TaskIo
    validators: Validators
    meta: dict[str, Any]
    violations: list[str]
    control: Control
    item: Any = None
    index: int | None = None
