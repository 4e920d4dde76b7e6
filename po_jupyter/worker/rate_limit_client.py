"""A worker's end of the limiter: calls go straight, or ask the orchestrator first (see `rate_limits`)."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import structlog

from po_jupyter.config import Settings
from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.errors import ModelError, ModelRateLimited, from_json
from po_jupyter.ipc.messages import (
    IpcMessage,
    LimitedModels,
    RateHistory,
    RateMessage,
    RatePermitDenied,
    RatePermitDropped,
    RatePermitGranted,
    RatePermitRefused,
    RatePermitRequest,
    RatePermitUsed,
    RatePermitWait,
    Welcome,
)
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.llm.money.tokens import estimate, estimate_messages
from po_jupyter.llm.rate_limits.sliding_window import Cost, RateLog
from po_jupyter.model.run.usage import Usage

log = structlog.get_logger(__name__)

_SAY = 5.0  # s between events that say what a task waits for
_CLEAR = 1.0  # s without a waiting call after which a task waits no more
_ASK_AGAIN = 15.0  # s: a word that was lost on the way is said again
_LONG = 0.1  # s of a wait that is worth a line in the log
_HISTORY = 60  # slots of the window that a new orchestrator is told about

# (task, what it waits for or None, seconds until the next call may go or None)
Say = Callable[[str, str | None, float | None], None]


class Line(Protocol):
    """What is needed of `uplink.Uplink`."""

    @property
    def connected(self) -> bool:
        """Whether an orchestrator hears."""
        ...

    def send(self, message: IpcMessage) -> None:
        """Send a message to the orchestrator, if one is there."""
        ...

    def connect_now(self) -> None:
        """Connect now."""
        ...


class RatePass:
    """See `llm.admission.Pass`. `asked`: the orchestrator knows of it."""

    __slots__ = ("_door", "asked", "at", "go", "id", "request", "task")

    def __init__(self, door: RateAdmission, id: int, request: ChatRequest, task: str, asked: bool) -> None:
        self._door = door
        self.id = id
        self.request = request
        self.task = task
        self.asked = asked
        self.at = 0.0
        self.go: asyncio.Future[None] | None = None

    def sends(self) -> None:
        """See `Pass`."""
        self.at = self._door.now()

    def answered(self, response: ChatResponse) -> None:
        """See `Pass`."""
        self._door.over(self, _counted(self.request, response.usage), response.limits)

    def failed(self, error: ModelError) -> None:
        """See `Pass`."""
        if isinstance(error, ModelRateLimited):
            self._door.refused(self, error)
        else:
            said = error.usage
            used = _counted(self.request, Usage.model_validate(said)) if said is not None else None
            self._door.over(self, used, None)

    def lost(self) -> None:
        """See `Pass`."""
        self._door.over(self, None, None)

    def unused(self) -> None:
        """See `Pass`."""
        self._door.dropped(self)

    @property
    def size(self) -> tuple[int, int | None]:
        """About how many tokens its prompt has, and how many its answer may have."""
        request = self.request
        given = estimate_messages(message.content for message in request.messages)
        if request.schema is not None:
            given += estimate(str(request.schema))
        return given, request.max_tokens


class RateAdmission:
    """See `llm.admission.Admission`. `say` is told what tasks wait for."""

    def __init__(
        self, line: Line, settings: Settings, *, say: Say = lambda task, reason, seconds: None
    ) -> None:
        self._line = line
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._window = settings.rate_window
        self._limited = frozenset(settings.rate_limits)
        self._asks: dict[str, bool] = {}  # by model: whether its calls have to ask
        self._ids = itertools.count(1)
        self._open: dict[int, RatePass] = {}  # sent
        self._waiting: dict[int, RatePass] = {}
        self._epoch: str | None = None  # the orchestrator that knows what we did
        self._all: dict[str, RateLog] = {}  # what we did in the last window, by model
        self._free: dict[str, RateLog] = {}  # the part of it that no orchestrator knows
        self.now = self._loop.time
        self._limits: dict[str, Any] = {}  # what servers said last, by model
        self._tasks: Counter[str] = Counter()  # calls that wait, by task
        self._why: dict[str, str] = {}  # what calls to a model waited for last
        self._said: dict[str, float] = {}  # when a task's wait was told last
        self._again: asyncio.TimerHandle | None = None
        self._drained = False

    # -- the door -----------------------------------------------------------------------------------
    def enter(self, request: ChatRequest, task: str) -> RatePass | None:
        """See `Admission`. Raises Drained."""
        if self._drained:
            raise Drained
        asks = self._asks.get(request.model)
        if asks is None:
            asks = self._asks[request.model] = bool({request.model, request.provider} & self._limited)
        if asks:
            return None
        found = RatePass(self, next(self._ids), request, task, False)
        found.at = self.now()
        self._open[found.id] = found
        return found

    async def wait(self, request: ChatRequest, task: str) -> RatePass:
        """See `Admission`. Raises ModelRefused, Drained."""
        asking = RatePass(self, next(self._ids), request, task, True)
        asking.go = self._loop.create_future()
        self._waiting[asking.id] = asking
        self._tasks[task] += 1
        since = self._loop.time()
        self._line.connect_now()
        self._ask(asking)
        if self._again is None:
            self._again = self._loop.call_later(_ASK_AGAIN, self._ask_again)
        try:
            await asking.go
        except BaseException:
            self._line.send(RatePermitDropped(asking.id))
            raise
        finally:
            del self._waiting[asking.id]
            self._tasks[task] -= 1
            if not self._tasks[task] and task in self._said:
                self._loop.call_later(_CLEAR, self._cleared, task)
        asking.at = self._loop.time()
        if asking.at - since >= _LONG:
            why = self._why.get(request.model)
            log.debug(
                "call waited", task=task, model=request.model, seconds=round(asking.at - since, 3), why=why
            )
        self._open[asking.id] = asking
        return asking

    def drain(self) -> None:
        """Nothing is sent any more: every wait ends with Drained."""
        self._drained = True
        for asking in list(self._waiting.values()):
            if asking.go is not None and not asking.go.done():
                asking.go.set_exception(Drained())
        if self._again is not None:
            self._again.cancel()

    def _ask(self, asking: RatePass) -> None:
        given, most = asking.size
        self._line.send(RatePermitRequest(asking.id, asking.request.model, given, most))

    def _ask_again(self) -> None:
        self._again = None
        for asking in self._waiting.values():
            self._ask(asking)
        if self._waiting:
            self._again = self._loop.call_later(_ASK_AGAIN, self._ask_again)

    # -- what came of a request -----------------------------------------------------------------------
    def over(self, found: RatePass, used: Cost | None, limits: Any) -> None:
        """It was answered, or failed otherwise than by a limit."""
        model = found.request.model
        if limits:
            self._limits[model] = limits
            if not found.asked:
                self._recall({model})
        del self._open[found.id]
        amounts = (used or Cost()).amounts
        now = self._loop.time()
        _log_of(self._all, model, self._window).add(found.at, amounts, now=now)
        if not found.asked:
            _log_of(self._free, model, self._window).add(found.at, amounts, now=now)
            return
        given, answered = (used.input, used.output) if used is not None else (None, None)
        ago = round(now - found.at, 4)
        self._line.send(RatePermitUsed(found.id, ago, input=given, output=answered, limits=limits or None))

    def refused(self, found: RatePass, error: ModelRateLimited) -> None:
        """The server said 429."""
        model = found.request.model
        if error.limits:
            self._limits[model] = error.limits
        if not found.asked:
            self._recall({model})
        del self._open[found.id]
        self._line.send(
            RatePermitRefused(
                found.id, model, error.retry_after, limits=dict(error.limits) if error.limits else None
            )
        )

    def dropped(self, found: RatePass) -> None:
        """It was not sent."""
        del self._open[found.id]
        if found.asked:
            self._line.send(RatePermitDropped(found.id))

    # -- what the orchestrator says --------------------------------------------------------------------
    def welcomed(self, message: Welcome) -> None:
        """Connected; `rates` is what `rate_limits.RateLimits.join` said: tell what it does not know, and ask
        again."""
        rates = message.rates
        epoch = rates["epoch"] if rates is not None else None
        if epoch != self._epoch:
            self._epoch = epoch
            now = self._loop.time()
            self._free = {model: log_.copy(now) for model, log_ in self._all.items()}
        for found in self._open.values():
            found.asked = False  # when a connection ends, nothing counts as under way
        self._now_limited(rates["limited"] if rates is not None else (), also=self._limits)
        for asking in self._waiting.values():
            self._ask(asking)

    def heard(self, message: RateMessage) -> None:
        """A word about calls of ours."""
        match message:
            case RatePermitGranted():
                asking = self._waiting.get(message.id)
                if asking is not None and asking.go is not None and not asking.go.done():
                    asking.go.set_result(None)
                elif asking is None and message.id not in self._open:
                    self._line.send(RatePermitDropped(message.id))
            case RatePermitDenied():
                asking = self._waiting.get(message.id)
                if asking is not None and asking.go is not None and not asking.go.done():
                    asking.go.set_exception(from_json(message.error))
            case LimitedModels():
                self._now_limited(message.keys)
            case RatePermitWait():
                self._tell(message.model, message.reason, message.seconds)

    def _now_limited(self, keys: Iterable[str], also: Iterable[str] = ()) -> None:
        self._limited = frozenset(keys)
        self._asks.clear()
        models = {*self._free, *(found.request.model for found in self._open.values() if not found.asked)}
        self._recall({*also, *(model for model in models if self._must_ask(model))})

    def _must_ask(self, model: str) -> bool:
        return model in self._limited or model.partition(":")[0] in self._limited

    def _recall(self, models: Iterable[str]) -> None:
        """Tell what we did without asking. From now on the orchestrator knows it."""
        if not self._line.connected:
            return
        now = self._loop.time()
        said: dict[str, Any] = {}
        for model in models:
            free = self._free.pop(model, None)
            past = [[round(ago, 3), *amounts] for ago, amounts in free.rows(now)] if free is not None else []
            open_ = [found for found in self._open.values() if not found.asked and found.request.model == model]
            for found in open_:
                found.asked = True
            said[model] = {
                "past": past,
                "open": [[found.id, round(now - found.at, 3), *found.size] for found in open_],
                "limits": self._limits.get(model),
            }
        if said:
            self._line.send(RateHistory(said))

    # -- what people see --------------------------------------------------------------------------------
    def _tell(self, model: str, reason: str, seconds: float | None) -> None:
        now = self._loop.time()
        self._why[model] = reason
        for task in sorted({asking.task for asking in self._waiting.values() if asking.request.model == model}):
            if now - self._said.get(task, float("-inf")) >= _SAY:
                self._said[task] = now
                self._say(task, reason, seconds)

    def _cleared(self, task: str) -> None:
        if not self._tasks[task] and self._said.pop(task, None) is not None:
            self._say(task, None, None)


def _log_of(logs: dict[str, RateLog], model: str, window: float) -> RateLog:
    found = logs.get(model)
    if found is None:
        found = logs[model] = RateLog(window, slots=_HISTORY)
    return found


def _counted(request: ChatRequest, usage: Usage) -> Cost:
    """What counts against limits. Anthropic counts no tokens that it read from its cache ("Rate limits")."""
    given = usage.input_tokens
    if request.provider == "anthropic":
        given -= usage.cached_tokens
    return Cost(given, usage.output_tokens)
