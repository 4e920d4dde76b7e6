"""A provider behind the gateway of a hub (`po_jupyter.hub`): what a run makes of the gateway's and the hub's answers.

    X-Po-Error: rate_limited        waited out: counts as no attempt
                budget_exceeded     BudgetExceeded, with the time of the reset
                model_not_allowed   ModelKeyError, with the list; so is no_access
                gateway_unavailable waited out: the gateway cannot ask the hub
                answer_lost         an attempt whose outcome is unknown, so that it counts as perhaps paid for
                unauthorized        waited out until the orchestrator has a token that the hub knows
    a page, a redirect, no connection     the hub or its proxy is away: waited out

What was sent and has no answer may be paid for: that is waited out only while the gateway does not answer at all, and
counts as an attempt otherwise.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from po_jupyter.errors import BudgetExceeded, ModelError, ModelKeyError, ModelUnavailable, PoError
from po_jupyter.llm.batches.protocol import Batches, batch_api_of
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText, Provider
from po_jupyter.llm.providers.team_batches import TeamBatches
from po_jupyter.llm.wire.http import Http, Target

T = TypeVar("T")
log = structlog.get_logger(__name__)

_PATIENCE = 10.0  # s, for the answer that shows that the gateway is there
_UNKNOWN = frozenset({"unauthorized", "gateway_unavailable"})  # the gateway does not know who asks, or cannot
_BETWEEN = frozenset({500, 502, 503, 504})  # of a proxy: the request may have got through


class TeamProvider:
    """The provider of one worker behind the gateway; see the module. Lives on one loop."""

    def __init__(
        self,
        provider: Provider,
        hub_url: str,
        http: Http,
        reopen: Callable[[], Awaitable[tuple[Provider, str | None]]],
        learn: Callable[[object], None] = lambda answer: None,
        lacks_price: Callable[[str], bool] = lambda ref: False,
    ) -> None:
        """`reopen` gets the user's token anew and makes the provider with it: both. Without a token the provider is
        asked at its vendor, with the user's own key, which the gateway never sees. `learn` gets the gateway's list of
        models whenever that was asked for: of a model that `lacks_price` before it is asked."""
        self.name = provider.name
        self._provider = provider
        self._url = f"{hub_url}/api/models"
        self._http = http
        self._reopen = reopen
        self._learn = learn
        self._lacks_price = lacks_price
        self._looking: asyncio.Future[bool] | None = None
        self._is_elsewhere = False  # asked at the vendor, with the user's own key

    @property
    def embeds(self) -> bool:
        """Whether the provider makes vectors."""
        return bool(getattr(self._provider, "embeds", False))

    @property
    def batches(self) -> TeamBatches | None:
        """The batch API, if the provider has one."""
        current = batch_api_of(self._provider)
        return TeamBatches(current, self._ask_batches) if current is not None else None

    async def _ask_batches(self, request: Callable[[Batches], Awaitable[T]]) -> T:
        """Make a request of the batch API; once more where the token was an old one."""
        try:
            return await request(self._batches_now())
        except ModelError as error:
            if self._is_elsewhere:
                raise
            meaning = of_gateway(error)
            refused = isinstance(meaning, ModelError) and meaning.waits_for == "token"
            if not (refused and await self.ready()):
                if meaning is error:
                    raise
                raise meaning from None
        return await request(self._batches_now())

    def _batches_now(self) -> Batches:
        current = batch_api_of(self._provider)
        assert current is not None  # the same provider, with another token
        return current

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """Make one request. See `llm.chat.Provider`. Raises BudgetExceeded too."""
        if self._lacks_price(request.model):
            await self.ready()  # not with an answer in hand that is paid for
        try:
            return await self._provider.chat(request, on_text=on_text)
        except ModelError as error:
            if self._is_elsewhere:
                raise
            meaning = of_gateway(error)
            if isinstance(meaning, ModelError) and is_cut(meaning) and not await self.ready():
                meaning.waits_for = "hub"
            if meaning is error:
                raise
            raise meaning from None

    async def ready(self) -> bool:
        """Whether the gateway answers and knows the user's token, which is got anew for that; what it refuses it says
        to the call itself. One look for all calls that ask at the same time."""
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look())
            self._looking.add_done_callback(self._looked)
        return await asyncio.shield(self._looking)

    def _looked(self, _: asyncio.Future[bool]) -> None:
        self._looking = None

    async def _look(self) -> bool:
        try:
            self._provider, key = await self._reopen()
            self._is_elsewhere = key is None
            if key is None:
                return True
            target = Target(self._url, key=key, name="the hub's gateway")
            response = await self._http.fetch(target, method="GET", body=b"", seconds=_PATIENCE)
            if code := response.headers.get("x-po-error", ""):
                return code not in _UNKNOWN  # whoever waits gets an answer of their own
            answer = json.loads(response.body) if response.status == 200 else None
            if isinstance(answer, dict):
                self._learn(answer)
            return isinstance(answer, dict)
        except (PoError, ValueError) as error:
            log.info("the gateway does not answer", error=getattr(error, "message", "it is not JSON"))
            return False

    async def aclose(self) -> None:
        """Close the provider."""
        await self._provider.aclose()


def of_gateway(error: ModelError) -> PoError:
    """What an error means that came from a gateway's address; itself when it is the vendor's."""
    code = error.gateway
    if code == "rate_limited":
        error.waits_for = "limit"
    elif code == "budget_exceeded":
        return _budget(error)
    elif code in ("model_not_allowed", "no_access"):
        hint = "`po models` lists those that you may use; the hub's admin decides which."
        return ModelKeyError(error.message, hint=hint, details=error.details)
    elif code == "unauthorized":
        unknown = _transient(error)
        unknown.waits_for = "token"
        return unknown
    elif code == "gateway_unavailable" and error.http_status == 503:
        error = _transient(error)  # it could not ask the hub who asks
        error.waits_for = "hub"
    elif code == "answer_lost":
        lost = _transient(error)
        lost.outcome = "unknown"
        return lost
    elif code == "vendor_unavailable" and not error.transient:
        return _transient(error)
    elif not code and (error.page or _never_arrived(error)):
        return _away(error)
    elif isinstance(error, ModelKeyError) and error.http_status is not None:
        error.hint = "The team's key was refused: the hub's admin has to look at it."
    return error


def is_cut(error: ModelError) -> bool:
    """Whether a request was sent and there is no word of the gateway about it."""
    return error.outcome == "unknown" and (error.http_status is None or error.page) and not error.gateway


def _never_arrived(error: ModelError) -> bool:
    sent = error.http_status is not None or error.outcome is not None or error.usage is not None
    return isinstance(error, ModelUnavailable) and not sent


def _transient(error: ModelError) -> ModelUnavailable:
    outcome = error.outcome
    return ModelUnavailable(
        error.message, details=error.details, retry_after=error.retry_after, outcome=outcome
    )


def _away(error: ModelError) -> ModelUnavailable:
    """The hub or its proxy answered in the place of the gateway, or nobody did."""
    away = _transient(error)
    if error.http_status in _BETWEEN:
        away.outcome = "unknown"
    else:
        away.outcome, away.waits_for = None, "hub"
    return away


def _budget(error: ModelError) -> BudgetExceeded:
    resets_at = error.details.get("resets_at")
    when = f"; it is reset at {resets_at}" if resets_at else ""
    return BudgetExceeded(
        f"the budget on the hub is spent{when} ({error.message})",
        hint="What is finished is kept: `po resume` goes on after that. `po usage` shows the budget.",
        details={"scope": "hub", "resets_at": resets_at},
    )
