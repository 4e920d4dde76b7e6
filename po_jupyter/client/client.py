"""The client that people hold: plain calls that block, over the async one on the background loop."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO, TypeVar

from po_jupyter.client import background_loop as loop
from po_jupyter.client.async_client import AsyncClient, Endpoint
from po_jupyter.client.inputs.pipelines import has_code, name_of, pipeline_body
from po_jupyter.client.inputs.seeds import seed_of
from po_jupyter.client.row_uploads import uploaded
from po_jupyter.client.run import Outputs, Run, budget_body
from po_jupyter.errors import InvalidInput
from po_jupyter.model.pipeline.pipeline import Budget, Pipeline
from po_jupyter.model.run.answer import Answer
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.run.view import ENDED, RunView

__all__ = ["Client", "Outputs", "Run"]

T = TypeVar("T")


class Client:
    """An orchestrator. `connect()` finds or starts one.

    Safe to use from any thread, from a notebook's cells and after a fork. Raises the errors of
    `po_jupyter.errors`; `Unavailable` when nothing answers.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout: float = 30.0,
        relocate: Callable[[], Endpoint | None] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._relocate = relocate
        self._bound: tuple[asyncio.AbstractEventLoop, AsyncClient] | None = None
        self.notes = notes  # what discovery wants a person to know

    def __repr__(self) -> str:
        return f"<po_jupyter client of {self.url}>"

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return self.aio.endpoint.url

    @property
    def aio(self) -> AsyncClient:
        """The async client, for use on the background loop only (`client.loop.spawn`)."""
        current = loop.get_loop()
        if self._bound is None or self._bound[0] is not current:  # at first, and in the child of a fork
            aio = AsyncClient(self._endpoint, timeout=self._timeout, relocate=self._relocate)
            self._bound = (current, aio)
            # A client that is dropped without close() must not keep its connections. Not at exit: then the
            # loop's thread may be gone, and the system closes them.
            weakref.finalize(self, _drop, current, aio).atexit = False
        return self._bound[1]

    def close(self) -> None:
        """Close the connections. The orchestrator and its runs go on."""
        bound, self._bound = self._bound, None
        if bound is not None and bound[0] is loop.get_loop():
            loop.run(bound[1].aclose(), 5)

    def _call(self, coro: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        return loop.run(coro, timeout)

    # -- the orchestrator -----------------------------------------------------------------------
    def health(self) -> dict[str, Any]:
        """`{"status": "ok"}`, or Unavailable."""
        return self._call(self.aio.health())

    def ready(self) -> dict[str, Any]:
        """`{ready, orchestrator, store}`."""
        return self._call(self.aio.ready())

    def meta(self) -> dict[str, Any]:
        """Version, user, data directory, limits and providers of the orchestrator."""
        return self._call(self.aio.meta())

    def models(self, word: str | None = None, provider: str | None = None) -> list[dict[str, Any]]:
        """Models by name, those that can be used now first: `{ref, provider, model, alias, usable, why, price}`.

        `price` is `{input, output}` in US dollars for a million tokens, None where it is unknown. `word` is a part
        of the name. Any other model of a provider works as well, by its ref.
        """
        return self._call(self.aio.models(word=word, provider=provider))

    def chat(self, prompt: str | Sequence[Mapping[str, str]], **options: Any) -> Answer:
        """One question without a pipeline; `options` as in `po.chat`."""
        from po_jupyter.client.chat import chat

        return chat(prompt, client=self, **options)

    # -- pipelines ------------------------------------------------------------------------------
    def validate(self, pipeline: Pipeline | Mapping[str, Any] | str, seed: Any = None) -> dict[str, Any]:
        """Check a pipeline (and a seed) with all that the orchestrator knows; starts nothing.

        Raises InvalidPipeline or InvalidSeed with every violation.
        """
        given = pipeline_body(pipeline)
        envelope = None if seed is None else seed_of(seed, name_of(given)).model_dump(mode="json")
        return self._call(self.aio.validate(given, envelope))

    def register(self, pipeline: Pipeline | Mapping[str, Any] | str) -> dict[str, Any]:
        """Keep the definition under its name, so that runs can be started by name."""
        given = pipeline_body(pipeline)
        if isinstance(given, str):
            raise InvalidInput(f"{given!r} is a name, not a definition")
        return self._call(self.aio.put_pipeline(name_of(given), given))

    def pipelines(self) -> list[dict[str, Any]]:
        """The registered pipelines."""
        return self._call(self.aio.pipelines())

    # -- runs -----------------------------------------------------------------------------------
    def submit(
        self,
        pipeline: Pipeline | Mapping[str, Any] | str,
        seed: Any = None,
        *,
        idempotency_key: str | None = None,
        limit: int | None = None,
        fresh: bool = False,
        cache: Literal[False, "refresh"] | None = None,
        skip_validation: bool = False,
        budget: float | Budget | Mapping[str, Any] | None = None,
        interpreter: str | None = None,
        cwd: str | None = None,
        priority: int | None = None,
        model: str | None = None,
    ) -> Run:
        """Start a run and return at once; by then it is durable and goes on without this process.

        `pipeline` is a `Pipeline`, its dict, YAML text or the name of a registered one. `seed` is the
        data: a dict, a list of rows, a DataFrame, or a whole `Seed`; rows of more than 1 MB travel as a file,
        once for all runs. `limit` runs only the first rows of maps;
        `model` is used in the place of every model that the pipeline or a task names;
        `fresh` (or `cache="refresh"`) asks the models anew and keeps what they say for later runs, `cache=False`
        neither uses nor keeps answers; `skip_validation` starts the run although a key or the like that it needs is
        missing where the orchestrator runs, instead of raising InvalidEnvironment; `budget` is US dollars or a
        `Budget`. Python tasks run with `interpreter` in `cwd`; by default this process's own when the orchestrator
        is on this machine.
        The same `idempotency_key` with the same content gives the same run; with another one it is a Conflict.
        """
        given = pipeline_body(pipeline)
        envelope = seed_of(seed, name_of(given))
        body: dict[str, Any] = {"pipeline": given}
        if interpreter is None and self.aio.endpoint.is_local and has_code(given):
            interpreter = sys.executable
            cwd = cwd or os.getcwd()
        given_options = {
            "limit": limit, "fresh": fresh or None, "cache": cache, "skip_validation": skip_validation or None,
            "model": model,
        }  # fmt: skip
        options = {k: v for k, v in given_options.items() if v is not None}
        extras = {
            "idempotency_key": idempotency_key,
            "budget": budget_body(budget),
            "interpreter": interpreter,
            "cwd": cwd,
            "priority": priority,
            "options": options or None,
        }
        body.update({k: v for k, v in extras.items() if v is not None})
        return Run(self, self._call(self._submit(body, envelope)))

    async def _submit(self, body: dict[str, Any], seed: Seed) -> RunView:
        sent = await uploaded(self.aio, seed)
        return await self.aio.submit({**body, "seed": sent.model_dump(mode="json", exclude_none=True)})

    def estimate(
        self,
        pipeline: Pipeline | Mapping[str, Any] | str,
        seed: Any = None,
        *,
        limit: int | None = None,
        model: str | None = None,
    ) -> dict[str, Any]:
        """What a run would cost, before anything is spent; every number is an estimate.

        `{calls, input_tokens, output_tokens_max, cost: {expected, worst}, tasks: [...], unknown: [...]}`: US
        dollars, null where unknown; `unknown` says what the numbers leave out. Raises InvalidPipeline,
        InvalidSeed.
        """
        given = pipeline_body(pipeline)
        body: dict[str, Any] = {"pipeline": given}
        if options := {k: v for k, v in {"limit": limit, "model": model}.items() if v is not None}:
            body["options"] = options
        return self._call(self._estimate(body, seed_of(seed, name_of(given))))

    async def _estimate(self, body: dict[str, Any], seed: Seed) -> dict[str, Any]:
        sent = await uploaded(self.aio, seed)
        return await self.aio.estimate({**body, "seed": sent.model_dump(mode="json", exclude_none=True)})

    def run(self, run_id: str) -> Run:
        """A run by its id, or a unique part of it such as the six characters that people see. NotFound."""
        return Run(self, self._call(self.aio.run(run_id)))

    def runs(
        self,
        state: str | list[str] | tuple[str, ...] | None = None,
        pipeline: str | None = None,
        limit: int = 50,
    ) -> list[Run]:
        """The newest runs first, at most `limit`."""
        states = [state] if isinstance(state, str) else list(state or ())
        views = self._call(self._runs(states, pipeline, limit))
        return [Run(self, view) for view in views]

    # -- keys -----------------------------------------------------------------------------------
    def keys(self) -> list[dict[str, Any]]:
        """What there is of each provider's key, masked; those that have one first.

        `{provider, variable, base_url, needed, source, masked, stored, note}`: `source` is where the key that runs
        get comes from (`environment`, `keyring`, `file`, or None), `base_url` where it goes. Needs the scope `admin`.
        """
        return self._call(self.aio.keys())

    def set_key(self, provider: str, key: str) -> dict[str, Any]:
        """Keep a provider's key where the orchestrator runs (`client.set_key("openai", getpass())`).

        The next run has it. A variable of the orchestrator's environment wins over it. Raises InvalidInput.
        """
        return self._call(self.aio.set_key(provider, key))

    def remove_key(self, provider: str) -> None:
        """Forget a stored key. NotFound when none is stored."""
        self._call(self.aio.remove_key(provider))

    def doctor(self, *, online: bool = False) -> list[dict[str, Any]]:
        """What could keep runs from working, as the orchestrator sees it: `{what, verdict, found, todo}` each.

        `verdict` is `ok`, `note` or `bad`. With `online` each configured provider is asked for its list of models.
        """
        return self._call(self.aio.doctor(online=online))

    # -- room and history -----------------------------------------------------------------------
    def usage(self, days: int = 30) -> dict[str, Any]:
        """What your calls used in the last `days` days (UTC), and the room that your runs take.

        `{days: [{day, input_tokens, output_tokens, calls, cost, unpriced, unknown, ..., by_model}], total, disk:
        {runs: {bytes, states}, store, files, ...}}`, the newest day first, room in bytes. `cost` is US dollars
        without the `unpriced` calls, whose price nobody knows, and the `unknown` ones, whose outcome was lost;
        None when that is all of them. Deleted runs stay counted. Who sees everybody's also gets `owners`.
        """
        return self._call(self.aio.usage(days))

    def clean(
        self,
        *,
        dry_run: bool = False,
        older_than: float | None = None,
        states: Sequence[str] = (),
        cache: bool = False,
    ) -> dict[str, Any]:
        """Delete old ended runs with all that is theirs: `{runs, bytes, returned, dry_run}`.

        `older_than` is in days, of `states` (by default only `done`: the others can be resumed). Without it,
        what retention's settings say. `dry_run` says what would go and deletes nothing. `cache` forgets your
        cached answers of models, and no run; `cache: {answers, bytes}` then says how many.
        """
        if cache:
            return self._call(self.aio.clean(dry_run=dry_run, older_than=older_than, states=states, cache=True))
        done: dict[str, Any] = {"runs": [], "bytes": 0, "returned": 0}
        more = True
        while more:  # a long cleaning is several requests
            part = self._call(self.aio.clean(dry_run=dry_run, older_than=older_than, states=states))
            for name in done:
                done[name] += part[name]
            more = bool(part.get("more"))
        return {**done, "dry_run": dry_run}

    def audit(self, limit: int = 100) -> list[dict[str, Any]]:
        """Who changed what, and when: the newest entries first. Needs the scope `admin`."""
        return self._call(self._audit(limit))

    async def _audit(self, limit: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(found) < limit:
            page, cursor = await self.aio.audit(cursor=cursor, limit=min(1000, limit - len(found)))
            found += page
            if cursor is None:
                break
        return found

    def export(
        self, path: str | os.PathLike[str], *, state: str | None = None, pipeline: str | None = None
    ) -> int:
        """Write every ended run as a line of JSON to the file `path`, the newest first; how many.

        The file is there as a whole or not at all.
        """
        states = [s for s in (state.split(",") if state else sorted(ENDED)) if s]
        strangers = [s for s in states if s not in ENDED]
        if strangers:
            raise InvalidInput(f"{strangers[0]!r} has not ended; ended are: {', '.join(sorted(ENDED))}")
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                count = self._call(self._export(file, states, pipeline), 3600)
            os.replace(temporary, target)
        except OSError as error:
            raise InvalidInput(f"{target} cannot be written: {error.strerror}") from None
        finally:
            temporary.unlink(missing_ok=True)
        return count

    async def _export(self, file: TextIO, states: list[str], pipeline: str | None) -> int:
        count, cursor = 0, None
        while True:
            views, cursor = await self.aio.runs(states=states, pipeline=pipeline, cursor=cursor, limit=200)
            for view in views:
                file.write(view.model_dump_json() + "\n")
            count += len(views)
            if cursor is None:
                return count

    async def _runs(self, states: list[str], pipeline: str | None, limit: int) -> list[RunView]:
        views: list[RunView] = []
        cursor: str | None = None
        while len(views) < limit:
            page, cursor = await self.aio.runs(
                states=states, pipeline=pipeline, cursor=cursor, limit=min(200, limit - len(views))
            )
            views += page
            if cursor is None:
                break
        return views[:limit]

    # -- dead letters ---------------------------------------------------------------------------
    def dead_letters(self, limit: int = 50) -> list[dict[str, Any]]:
        """Runs that exhausted their attempts, newest first, at most `limit`.

        Each has its context: `{id, name, pipeline, task, stage, attempt, error, log, crashes, died_at, tasks,
        usage, ...}`; `error` is the last one, `log` the end of the worker's log.
        """
        return self._call(self._dead_letters(limit))

    async def _dead_letters(self, limit: int) -> list[dict[str, Any]]:
        letters: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(letters) < limit:
            page, cursor = await self.aio.dead_letters(cursor=cursor, limit=min(200, limit - len(letters)))
            letters += page
            if cursor is None:
                break
        return letters

    def requeue(self, run_id: str, from_task: str | None = None) -> Run:
        """Try a dead run again, from `from_task` on if given; its finished work is kept. Conflict when it is
        not dead."""
        return Run(self, self._call(self.aio.requeue(run_id, from_task)))

    def discard(self, run_id: str) -> None:
        """Remove a dead run with all that is its own. Conflict when it is not dead."""
        self._call(self.aio.discard(run_id))


def _drop(owner: asyncio.AbstractEventLoop, aio: AsyncClient) -> None:
    if owner is loop.get_loop():
        asyncio.run_coroutine_threadsafe(aio.aclose(), owner)
