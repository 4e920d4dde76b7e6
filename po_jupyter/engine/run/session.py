"""A run in the hands of one worker: its definition, its state as the log says it, and how to add to the log."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from po_jupyter.config import Settings
from po_jupyter.engine.base.interrupts import Drained, Stopped
from po_jupyter.engine.base.threads import Threads
from po_jupyter.engine.budgets.build import admit, budget_of
from po_jupyter.engine.calls.attempt_calls import Calls, ModelSettings
from po_jupyter.engine.calls.journal import StoreJournal
from po_jupyter.engine.files.artifacts import RunFiles, clean
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.engine.prompts.templates import Rows, base_names
from po_jupyter.engine.python.python_task import PythonTask
from po_jupyter.engine.replay.history import History, expand, marked, read_history
from po_jupyter.engine.replay.row_table import RowTable
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.engine.stage_logs.fd_redirect import descriptors
from po_jupyter.engine.state.effective_pipeline import effective
from po_jupyter.engine.tools.mcp import McpTools
from po_jupyter.llm.calls.admission import UNLIMITED, Admission
from po_jupyter.llm.calls.cache import AnswerStore, CallCache
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import Provider
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.model.pipeline.parsing import check_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.seed import Seed, read_seed
from po_jupyter.store.files.row_files import FileRows, RowFiles
from po_jupyter.store.protocol import Head, Lease, Ref, Store

T = TypeVar("T")
C = TypeVar("C", bound=Calls)
Say = Callable[[dict[str, Any]], None]
_KEPT_OUTPUTS = 64


class Finds(Protocol):
    """What is needed of `llm.providers.Providers`."""

    def get(self, ref: str) -> Provider:
        """The provider of a model ref."""
        ...


class Outputs(Mapping[str, Any]):
    """`tasks` of templates and stages: the outputs of the tasks that `name` waits for, read when asked."""

    def __init__(self, work: Work, name: str) -> None:
        self._work = work
        self._name = name

    @cached_property
    def _names(self) -> dict[str, None]:
        before = self._work.pipeline.upstream_of(self._name)
        return {t.name: None for t in self._work.pipeline.tasks if t.name in before}

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._work.output(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Work(RunLog):
    """One run under a lease. Made by `load`; `engine.drive.drive` works it off; `aclose` ends it.

    say       gets ephemeral notes `{task, text, round, attempt}`: pieces of an answer as they come
    watched   answers whether somebody looks; text is streamed only then
    committed is told each new head of the run, on the loop, after it became durable
    admission lets requests to models go (the limiter); None: at once
    answers   is where the cache of calls has its rows (None: there is no cache); see `CallCache` for `base_url`
    """

    def __init__(
        self,
        store: Store,
        lease: Lease,
        definition: Mapping[str, Any],
        history: History,
        *,
        settings: Settings,
        providers: Finds,
        say: Say | None = None,
        watched: Callable[[], bool] | None = None,
        committed: Callable[[Head], None] | None = None,
        run_dir: Path | None = None,
        worker: Mapping[str, Any] | None = None,
        admission: Admission | None = None,
        answers: AnswerStore | None = None,
        base_url: Callable[[str], str | None] = lambda ref: "",
    ) -> None:
        super().__init__(store, lease, history, committed)
        self.settings = settings
        self.definition = definition
        self.options: Mapping[str, Any] = definition.get("options") or {}
        self.definition_pipeline: Pipeline = check_pipeline(definition["pipeline"])
        self.seed: Seed = read_seed(definition["seed"])
        # The same with rows for references to files of rows: what tasks see.
        self.seed_data = RowFiles(settings.data_dir).with_rows(history.state.owner, self.seed.data)
        self.say: Say = say or (lambda note: None)
        self.watched: Callable[[], bool] = watched or (lambda: False)
        self.run_dir = run_dir or settings.data_dir / "runs" / self.run
        self.worker = {"pid": os.getpid(), "fence": lease.fence, **(worker or {})}
        self.files = RunFiles(self.run_dir, lease.fence, history, lambda: self.state)
        self.history = history
        self.threads = Threads()
        self.mcp = McpTools(settings.mcp_servers)
        self.draining = False
        self.drained = asyncio.Event()  # set with `draining`: who sleeps stops sleeping
        self.snapshots: dict[str, int] = {}  # kept of rows, by task
        self.running: set[str] = set()  # tasks that are executed here and now
        self.held: frozenset[str] = frozenset()  # tasks that a commit on its way skips: not to be started
        self.directing = (
            asyncio.Lock()
        )  # what tasks ask of the run is checked and committed one after the other
        self.prices = PriceBook(settings.prices)
        self.budget = budget_of(self)
        self.journal = StoreJournal(self, history)
        self.provider_of = providers.get
        self.on_rest: Callable[[bool], None] = lambda resting: None
        self._resting: set[str] = set()  # tasks that only wait for a batch
        self.cache = (
            CallCache(answers, owner=self.state.owner, run=self.run, base_url=base_url, used=history.hits)
            if answers
            else None
        )
        self.chat = JournaledChat(
            providers.get,
            self.journal,
            retry_after_cap=settings.retry_after_cap,
            admission=admission or UNLIMITED,
            cache=self.cache,
            sleep=self.sleep,
            prices=self.prices,
        )
        self._outputs: OrderedDict[str, Any] = OrderedDict()
        self._models: dict[str, ModelSettings] = {}
        self._prompts: dict[str, PromptTask] = {}
        self._python: dict[str, asyncio.Future[PythonTask]] = {}

    @classmethod
    async def load(cls, store: Store, lease: Lease, **parts: Any) -> Work:
        """Read the run's definition and log; `parts` are the keyword arguments of `Work`.

        Raises NotFound, or InvalidPipeline when the definition is not one that this version can run.
        """

        def read() -> tuple[dict[str, Any], History]:
            definition, history = store.definition(lease.run), read_history(store, lease.run)
            settings: Settings = parts["settings"]
            clean(parts.get("run_dir") or settings.data_dir / "runs" / lease.run, history.listed)
            return definition, history

        loop = asyncio.get_running_loop()
        definition, history = await loop.run_in_executor(store.thread(lease.run), read)
        return cls(store, lease, definition, history, **parts)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline as it is now: with what tasks added."""
        return effective(self.definition_pipeline, self.state)

    def starting(self) -> None:
        """Say that this worker has the run; goes along with the first commit."""
        self.emit(draft("run.started", **self.worker), state="running")

    # -- what others say to the worker ----------------------------------------------------------------
    def cancel_hint(self) -> None:
        """Somebody wrote to the run: look at the log now. Safe to call from the loop at any time."""
        self._looking = asyncio.get_running_loop().create_task(self.look())

    def drain(self) -> None:
        """Finish the calls in flight, start nothing new, give the run back."""
        self.draining = True
        self.drained.set()
        self.wake.set()

    def checkpoint(self) -> None:
        """Raises the Interrupt that is due; called between stages and before calls."""
        if self.draining:
            raise Drained
        if self.closed:
            raise Stopped

    async def sleep(self, seconds: float) -> None:
        """Wait; a drain ends it with Drained."""
        self.checkpoint()
        try:
            async with asyncio.timeout(seconds):
                await self.drained.wait()
        except TimeoutError:
            return
        raise Drained

    def rest(self, task: str, resting: bool) -> None:
        """A task only waits for somebody's answer, for hours perhaps; `on_rest` hears whether all that run do."""
        (self._resting.add if resting else self._resting.discard)(task)
        self.on_rest(bool(self._resting) and self.running <= self._resting)

    # -- what tasks read ------------------------------------------------------------------------------
    def payload(self, ref: Iterable[int]) -> Any:
        """The value behind a reference of this run."""
        return self.store.payload(self.run, Ref(*ref))

    def output(self, name: str) -> Any:
        """The output of a task; None when it has none. Reads the store when it is not at hand."""
        if name in self._outputs:
            self._outputs.move_to_end(name)
            return self._outputs[name]
        task = self.state.tasks.get(name)
        if task is None or task.output is None:
            return None
        value = self.payload(task.output)
        rows_of = marked(value) if task.items is not None else None
        if rows_of is not None:
            value = expand(self.store, self.run, value, self.rows(rows_of))
        self.keep(name, value)
        return value

    def keep(self, name: str, value: Any) -> None:
        """Have the output of a task at hand; the last 64 are kept."""
        self._outputs[name] = value
        self._outputs.move_to_end(name)
        while len(self._outputs) > _KEPT_OUTPUTS:
            self._outputs.popitem(last=False)

    def forget(self, name: str) -> None:
        """The output of a task changed or was large: read it anew when asked."""
        self._outputs.pop(name, None)

    def rows(self, task: str) -> RowTable:
        """Outcomes of rows that count."""
        return self.history.rows.setdefault(task, RowTable())

    def names(self, task: Task, attempt: int) -> dict[str, Any]:
        """What templates of a task see; `item` and `index` are added for each row."""
        return base_names(
            seed=self.seed_data,
            seed_name=self.seed.name,
            tasks=self.outputs_for(task),
            config=task.config,
            run={
                "id": self.run,
                "name": self.seed.name,
                "pipeline": self.pipeline.name,
                "version": self.pipeline.version,
                "attempt": attempt,
            },
        )

    def outputs_for(self, task: Task) -> Outputs:
        """The outputs that a task may use: of every task that is finished for sure when it starts."""
        return Outputs(self, task.name)

    def calls(self, task: Task, attempt: int, item: int | None = None, *, again: bool | None = None) -> Calls:
        """The calls of one attempt of a task or a row; `again`: it is not the first (default: by its number)."""
        return self.calls_of(Calls, task, attempt, item, again=attempt > 1 if again is None else again)

    def calls_of(self, kind: type[C], task: Task, attempt: int, item: int | None = None, *, again: bool) -> C:
        """The same, with calls of another kind."""
        settings = self._models.get(task.name)
        if settings is None:
            settings = self._models[task.name] = ModelSettings(self, task)
            admit(self, task)
        return kind(self, task, settings, attempt=attempt, item=item, again=again)

    def prompt_task(self, task: Task) -> PromptTask:
        """The compiled prompt task. Raises TemplateFailed."""
        if task.name not in self._prompts:
            self._prompts[task.name] = PromptTask(task)
        return self._prompts[task.name]

    async def python_task(self, task: Task) -> PythonTask:
        """The task's code, loaded once, and in a thread where that can take long. Raises StageFailed."""
        from po_jupyter.engine.python.python_task import load, only_defines

        if task.name not in self._python:
            functions = load(task) if only_defines(task) else await self.threads.run(partial(load, task))
            future = asyncio.get_running_loop().create_future()
            future.set_result(PythonTask(self, task, functions))
            self._python.setdefault(task.name, future)
        return await self._python[task.name]

    async def off_loop(self, fn: Callable[..., T], *args: Any) -> T:
        """`fn(*args)` in a thread: what reads much of the store, or of a file."""
        return await asyncio.to_thread(fn, *args)

    def reads_rows(self, task: Task) -> bool:
        """Whether what the task sees may be rows that are read one by one: of an earlier map, of a file."""
        if any(isinstance(value, FileRows) for value in self.seed_data.values()):
            return True
        upstream = self.pipeline.upstream_of(task.name)
        return any(t.for_each is not None for t in self.pipeline.tasks if t.name in upstream)

    def for_each(self, task: Task, names: Mapping[str, Any]) -> Sequence[Any]:
        """The rows of a map, perhaps each read when it is looked at. Raises TemplateFailed."""
        assert task.for_each is not None
        rows = Rows(task.for_each, task=task.name).evaluate(names)
        if isinstance(rows, FileRows):
            rows.open()
        return rows

    async def flush_cache(self) -> None:
        """Have answers in the cache before the run is seen to end: the next one may start at once."""
        if self.cache is not None:
            await self.cache.flush()

    async def aclose(self) -> None:
        """Flush what was emitted and let go of threads; the store stays open."""
        if not self.closed:
            self._send()
        self.closed = True
        if self._linger is not None:
            self._linger.cancel()
        self.threads.close()
        descriptors.release()
        await self._committer.close()
        if self.cache is not None:
            await self.cache.aclose()
        if self.budget is not None:
            await self.budget.aclose()
        await self.mcp.aclose()
