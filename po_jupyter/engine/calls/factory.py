"""The factory of model calls: one for a run, it makes the calls of each attempt of a task or a row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.base.threads import Threads
from po_jupyter.engine.budgets.build import build_budget, task_account, warning_emitter
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.calls.attempt_calls import AttemptCalls, CallParts, ModelSettings, StreamedText
from po_jupyter.engine.calls.journal import StoreJournal
from po_jupyter.engine.files.artifacts import RunFiles
from po_jupyter.engine.ports import Boundary, Observer
from po_jupyter.engine.replay.history import History
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.engine.tools.toolbox import RemoteTools
from po_jupyter.llm.calls.admission import UNLIMITED, Admission
from po_jupyter.llm.calls.answer_queue import AnswerQueue, AnswerStore
from po_jupyter.llm.calls.cache import CallCache
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import Provider
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.money.team_prices import TeamPrices
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.values.digests import short_digest

_LOOK = 5.0  # s between two questions for a price that a gateway has to say


class ProviderSource(Protocol):
    """A finder of providers (`llm.providers.registry.Providers`)."""

    def get(self, ref: str) -> Provider:
        """The provider of a model ref."""

    def prepare(self, ref: str) -> Awaitable[None] | None:
        """Get what `get` needs for that ref; None when there is nothing to wait for. The wait raises ModelKeyError,
        Unavailable."""

    @property
    def team_prices(self) -> TeamPrices | None:
        """What the gateway of a hub says of prices; None without one."""


class CallFactory:
    """Makes the calls of attempts; holds the journal, the cache of calls and the budget of one run.

    `cache` is None without a store for its answers, `budget` while nothing is limited.
    """

    def __init__(
        self,
        inputs: RunInputs,
        log: RunLog,
        history: History,
        *,
        boundary: Boundary,
        files: RunFiles,
        threads: Threads,
        mcp: RemoteTools,
        observer: Observer,
        providers: ProviderSource,
        running: Callable[[], set[str]] = set,
        admission: Admission | None = None,
        answers: AnswerStore | AnswerQueue | None = None,
        base_url: Callable[[str], str | None] = lambda ref: "",
        watched: Callable[[], bool] = lambda: False,
        on_text: Callable[[StreamedText], None] = lambda piece: None,
    ) -> None:
        """A factory over the log of a run; see `open_session` for `admission`, `answers`, `base_url`, `watched` and
        `on_text`. `running` are the tasks that are executed now."""
        self._inputs = inputs
        self._log = log
        self._history = history
        self._providers = providers
        self._settings: dict[tuple[str, int], tuple[ModelSettings, ...]] = {}
        self._judges: dict[str, dict[int, ModelSettings]] = {}
        self._base_url = base_url
        self._addresses: dict[str, str | None] = {}
        self.prices = _price_book(inputs, base_url, providers.team_prices)
        self.journal = StoreJournal(log, history)
        self.cache = (
            CallCache(answers, owner=inputs.owner, run=inputs.whole_run, base_url=base_url, used=history.hits)
            if answers is not None
            else None
        )
        chat = JournaledChat(
            providers.get,
            self.journal,
            retry_after_cap=inputs.settings.retry_after_cap,
            admission=admission or UNLIMITED,
            cache=self.cache,
            sleep=boundary.sleep,
            prices=self.prices,
            prepare=providers.prepare,
            address=self.address,
        )
        self._parts = CallParts(
            inputs=inputs,
            log=log,
            boundary=boundary,
            chat=chat,
            budget=build_budget(inputs, log, history.spent, running, self.prices, self._await_price),
            files=files,
            threads=threads,
            mcp=mcp,
            observer=observer,
            watched=watched,
            publish=on_text,
        )

    @property
    def budget(self) -> BudgetGuard | None:
        """The budget of the run, its tasks and its owner's day; None when nothing is limited."""
        return self._parts.budget

    async def provider_of(self, ref: str) -> Provider:
        """The provider of a model ref. Raises ModelKeyError, Unavailable."""
        if (preparing := self._providers.prepare(ref)) is not None:
            await preparing
        return self._providers.get(ref)

    async def _await_price(self, ref: str) -> None:
        """Learn what the gateway of a hub says of the price of a model. What no list knows is waited for, as the call
        itself would be: a gateway that is away is no reason to end a run."""
        if self._providers.team_prices is None:
            return
        while (preparing := self._providers.prepare(ref)) is not None:
            await preparing
            if self.prices.is_priced(ref) or not self.prices.is_pending(ref):
                return
            await self._parts.boundary.sleep(_LOOK)

    def address(self, ref: str) -> str | None:
        """The hash of the address where a model ref is asked; None where it has none, or it is not known."""
        if ref not in self._addresses:
            url = self._base_url(ref)
            self._addresses[ref] = short_digest(url, 16) if url else None
        return self._addresses[ref]

    def model_of(self, task: Task) -> str:
        """The model ref of a task."""
        return self._inputs.model_of(task)

    def calls(
        self, task: Task, attempt: int, item: int | None = None, *, again: bool | None = None, variant: int = 0
    ) -> AttemptCalls:
        """The calls of one attempt of a task or a row; `again`: it is not the first (default: by its number). Of a task
        with variants `task` is that of the variant with that number.

        The attempt of a row is that in the keys of its calls.
        """
        settings = self._settings.get((task.name, variant))
        if settings is None:
            settings = self._settings[task.name, variant] = tuple(
                ModelSettings.of(self._inputs, task, n) for n in range(len(self._inputs.llms_of(task)))
            )
            if task.name not in self._judges:
                self._judges[task.name] = ModelSettings.of_judges(self._inputs, task) if task.scorers else {}
                self._limit(task)
        if item is None:
            attempt = self._history.journal_attempt(task.name, attempt)
        again = attempt > 1 if again is None else again
        return AttemptCalls(
            self._parts, task, settings, attempt=attempt, item=item, again=again, judges=self._judges[task.name]
        )

    def _limit(self, task: Task) -> None:
        """Limit the calls of a task that another one added to its own budget too."""
        account = task_account(task, self._log.run_state)
        if account is None:
            return
        if self._parts.budget is None:
            self._parts.budget = BudgetGuard(
                on_warning=warning_emitter(self._log), prices=self.prices, await_price=self._await_price
            )
        self._parts.budget.add(account)

    async def flush_cache(self) -> None:
        """Have answers in the cache before the run is seen to end: the next one may start at once."""
        if self.cache is not None:
            await self.cache.flush()

    async def aclose(self) -> None:
        """Close the cache, and give the share of the day back."""
        if self.cache is not None:
            await self.cache.aclose()
        if self.budget is not None:
            await self.budget.aclose()


def _price_book(inputs: RunInputs, base_url: Callable[[str], str | None], team: TeamPrices | None) -> PriceBook:
    settings = inputs.settings
    return PriceBook(settings.prices, base_url=base_url, hub_url=settings.hub_url, team=team)
