"""The blocking client of an orchestrator: plain calls, for notebooks and scripts."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from po_jupyter.client.async_client import Endpoint
from po_jupyter.client.blocking import Blocking
from po_jupyter.client.http.payloads import (
    ChannelJson,
    CleaningJson,
    DeadLetterJson,
    FindingJson,
    KeyJson,
    ModelJson,
    PipelineJson,
    ReadinessJson,
    TokenJson,
    UsageJson,
    WorkersJson,
)
from po_jupyter.client.inputs.control_bodies import budget_body
from po_jupyter.client.inputs.pipelines import has_code, name_of, pipeline_body
from po_jupyter.client.inputs.seeds import seed_of
from po_jupyter.client.paging import CursorPage, collect_pages
from po_jupyter.client.row_uploads import upload_rows
from po_jupyter.client.run import Run
from po_jupyter.client.run_outputs import RunOutputs
from po_jupyter.client.schedules import ClientSchedules
from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.answer import Answer
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.model.values.json import JsonObject

if TYPE_CHECKING:
    from po_jupyter.model.pipeline.pipeline import Budget, Pipeline

__all__ = ["Client", "Run", "RunOutputs"]

_RUNS_PAGE = 200
_AUDIT_PAGE = 1000
_LETTERS_PAGE = 200
_EXPORT_TIMEOUT = 3600.0  # seconds


class Client(Blocking):
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
        found_because: str = "",
    ) -> None:
        """As `Blocking`; `notes` are remarks of the discovery for a person, `found_because` why it took this one."""
        super().__init__(endpoint, timeout=timeout, relocate=relocate)
        self.schedules = ClientSchedules(self)
        self.notes = notes
        self.found_because = found_because

    def __repr__(self) -> str:
        """Its URL, without the token."""
        return f"<po_jupyter client of {self.url}>"

    # -- the orchestrator -----------------------------------------------------------------------
    def health(self) -> JsonObject:
        """`{"status": "ok"}`, or Unavailable."""
        return self.call(self.aio.health())

    def ready(self) -> ReadinessJson:
        """`{ready, orchestrator, store}`."""
        return self.call(self.aio.ready())

    def meta(self) -> JsonObject:
        """Version, user, data directory, limits and providers of the orchestrator."""
        return self.call(self.aio.meta())

    def models(self, word: str | None = None, provider: str | None = None) -> list[ModelJson]:
        """Models by name, those that can be used now first: `{ref, provider, model, alias, usable, why, price}`.

        `price` is `{input, output}` in US dollars for a million tokens, None where it is unknown. `word` is a part
        of the name. Any other model of a provider works as well, by its ref.
        """
        return self.call(self.aio.models(word=word, provider=provider))

    def chat(self, prompt: str | Sequence[Mapping[str, str]], **options: Any) -> Answer:
        """One question without a pipeline; `options` as in `po.chat`."""
        from po_jupyter.client.chat import ChatArguments, chat  # schemas of answers: not for every client

        return chat(prompt, ChatArguments(**options), self)

    # -- pipelines ------------------------------------------------------------------------------
    def validate(self, pipeline: Pipeline | Mapping[str, object] | str, seed: Any = None) -> JsonObject:
        """Check a pipeline (and a seed) with all that the orchestrator knows; starts nothing.

        Raises InvalidPipeline or InvalidSeed with every violation.
        """
        body = pipeline_body(pipeline)
        envelope = None if seed is None else seed_of(seed, name_of(body)).model_dump(mode="json")
        return self.call(self.aio.validate(body, envelope))

    def register(self, pipeline: Pipeline | Mapping[str, object] | str) -> JsonObject:
        """Keep the definition under its name, so that runs can be started by name."""
        body = pipeline_body(pipeline)
        if isinstance(body, str):
            raise InvalidInput(f"{body!r} is a name, not a definition")
        return self.call(self.aio.put_pipeline(name_of(body), body))

    def pipelines(self) -> list[PipelineJson]:
        """The registered pipelines."""
        return self.call(self.aio.pipelines())

    # -- runs -----------------------------------------------------------------------------------
    def submit(
        self,
        pipeline: Pipeline | Mapping[str, object] | str,
        seed: Any = None,
        *,
        idempotency_key: str | None = None,
        limit: int | None = None,
        fresh: bool = False,
        cache: Literal[False, "refresh"] | None = None,
        skip_validation: bool = False,
        budget: float | Budget | Mapping[str, object] | None = None,
        interpreter: str | None = None,
        cwd: str | None = None,
        priority: int | None = None,
        model: str | None = None,
        labels: Sequence[str] = (),
    ) -> Run:
        """Start a run and return at once; by then it is durable and goes on without this process.

        `pipeline` is a `Pipeline`, its dict, YAML text or the name of a registered one. `seed` is the
        data: a dict, a list of rows, a DataFrame, or a whole `Seed`; rows of more than 1 MB travel as a file,
        once for all runs. `limit` runs only the first rows of maps;
        `model` is used in the place of every model that the pipeline or a task names;
        `fresh` (or `cache="refresh"`) asks the models anew and keeps what they say for later runs, `cache=False`
        neither uses nor keeps answers; `skip_validation` starts the run although a key or the like that it needs is
        missing where the orchestrator runs, instead of raising InvalidEnvironment; `labels` are what a node must
        have that works it off, where several machines share the store; `budget` is US dollars or a
        `Budget`. Python tasks run with `interpreter` in `cwd`; by default this process's own when the orchestrator
        is on this machine.
        The same `idempotency_key` with the same content gives the same run; with another one it is a Conflict.
        """
        definition = pipeline_body(pipeline)
        envelope = seed_of(seed, name_of(definition))
        if interpreter is None and self.aio.endpoint.is_local and has_code(definition):
            interpreter = sys.executable
            cwd = cwd or os.getcwd()
        options = _present(
            limit=limit,
            fresh=fresh or None,
            cache=cache,
            skip_validation=skip_validation or None,
            model=model,
            labels=list(labels) or None,
        )
        body = _present(
            pipeline=definition, idempotency_key=idempotency_key, budget=budget_body(budget),
            interpreter=interpreter, cwd=cwd, priority=priority, options=options or None,
        )  # fmt: skip
        return Run(self, self.call(self._submit(body, envelope)))

    async def _submit(self, body: JsonObject, seed: Seed) -> RunView:
        return await self.aio.submit({**body, "seed": await self._seed_body(seed)})

    async def _seed_body(self, seed: Seed) -> JsonObject:
        """The seed as a request's body has it, after its large lists were uploaded."""
        uploaded = await upload_rows(self.aio, seed)
        return uploaded.model_dump(mode="json", exclude_none=True)

    def estimate(
        self,
        pipeline: Pipeline | Mapping[str, object] | str,
        seed: Any = None,
        *,
        limit: int | None = None,
        model: str | None = None,
    ) -> JsonObject:
        """The cost of a run, before anything is spent; every number is an estimate.

        `{calls, input_tokens, output_tokens_max, cost: {expected, worst}, tasks: [...], unknown: [...]}`: US
        dollars, null where unknown; `unknown` says what the numbers leave out. Raises InvalidPipeline,
        InvalidSeed.
        """
        definition = pipeline_body(pipeline)
        body = _present(pipeline=definition, options=_present(limit=limit, model=model) or None)
        return self.call(self._estimate(body, seed_of(seed, name_of(definition))))

    async def _estimate(self, body: JsonObject, seed: Seed) -> JsonObject:
        return await self.aio.estimate({**body, "seed": await self._seed_body(seed)})

    def run(self, run_id: str) -> Run:
        """A run by its id, or a unique part of it such as the six characters that people see. NotFound."""
        return Run(self, self.call(self.aio.run(run_id)))

    def runs(
        self,
        state: str | list[str] | tuple[str, ...] | None = None,
        pipeline: str | None = None,
        limit: int = 50,
    ) -> list[Run]:
        """The newest runs first, at most `limit`."""
        states = [state] if isinstance(state, str) else list(state or ())

        async def fetch(cursor: str | None, size: int) -> CursorPage[RunView]:
            return await self.aio.runs(states=states, pipeline=pipeline, cursor=cursor, limit=size)

        return [Run(self, view) for view in self.call(collect_pages(fetch, _RUNS_PAGE, limit))]

    # -- keys -----------------------------------------------------------------------------------
    def keys(self) -> list[KeyJson]:
        """The state of each provider's key, masked; those that have one first.

        `{provider, variable, base_url, needed, source, masked, stored, note}`: `source` is where the key that runs
        get comes from (`environment`, `keyring`, `file`, or None), `base_url` where it goes. Needs the scope `admin`.
        """
        return self.call(self.aio.keys())

    def set_key(self, provider: str, key: str) -> KeyJson:
        """Keep a provider's key where the orchestrator runs (`client.set_key("openai", getpass())`).

        The next run has it. A variable of the orchestrator's environment wins over it. Raises InvalidInput.
        """
        return self.call(self.aio.set_key(provider, key))

    def remove_key(self, provider: str) -> None:
        """Forget a stored key. NotFound when none is stored."""
        self.call(self.aio.remove_key(provider))

    # -- tokens ---------------------------------------------------------------------------------
    def tokens(self) -> list[TokenJson]:
        """Your scoped tokens: `{id, name, scopes, owner, created_at, expires_at, expired}`. Needs the scope `admin`."""
        return self.call(self.aio.tokens())

    def create_token(
        self, scopes: Sequence[str], *, expires: float = 30 * 86_400, name: str = ""
    ) -> tuple[str, TokenJson]:
        """A token that may do no more than `scopes`, for `expires` seconds, and what is kept of it.

        The token is shown in this answer only; its digest is what is kept. Forbidden for a scope that you do not have.
        """
        return self.call(self.aio.create_token(scopes, expires=expires, name=name))

    def revoke_token(self, token_id: str) -> None:
        """Make a token worth nothing, from its next request on. NotFound."""
        self.call(self.aio.revoke_token(token_id))

    def doctor(self, *, online: bool = False) -> list[FindingJson]:
        """Findings of the orchestrator about what could keep runs from working: `{what, verdict, found, todo}` each.

        `verdict` is `ok`, `note` or `bad`. With `online` each configured provider is asked for its list of models.
        """
        return self.call(self.aio.doctor(online=online))

    def workers(self) -> WorkersJson:
        """The servers that share the store, with their slots, versions and silence, and the queue by priority."""
        return self.call(self.aio.workers())

    def drain_node(self, node: str) -> None:
        """Have a node give its runs to others and take none, until it is started again. NotFound, Conflict."""
        self.call(self.aio.drain_node(node))

    def notifications(self) -> list[ChannelJson]:
        """The channels that are told of ends, failures and gates: what was delivered, what waits and why.

        Needs the scope `admin`. Addresses and secrets are not in it.
        """
        return self.call(self.aio.notifications())

    # -- room and history -----------------------------------------------------------------------
    def usage(self, days: int = 30) -> UsageJson:
        """Usage of your calls in the last `days` days (UTC), and the room that your runs take.

        `{days: [{day, input_tokens, output_tokens, calls, cost, unpriced, unknown, ..., by_model}], total, disk:
        {runs: {bytes, states}, store, files, ...}}`, the newest day first, room in bytes. `cost` is US dollars
        without the `unpriced` calls, whose price nobody knows, and the `unknown` ones, whose outcome was lost;
        None when that is all of them. Deleted runs stay counted. Who sees everybody's also gets `owners`.
        """
        return self.call(self.aio.usage(days))

    def clean(
        self,
        *,
        dry_run: bool = False,
        older_than: float | None = None,
        states: Sequence[str] = (),
        cache: bool = False,
    ) -> CleaningJson:
        """Delete old ended runs with all that is theirs: `{runs, bytes, returned, dry_run}`.

        `older_than` is in days, of `states` (by default only `done`: the others can be resumed). Without it,
        what retention's settings say. `dry_run` says what would go and deletes nothing. `cache` forgets your
        cached answers of models, and no run; `cache: {answers, bytes}` then says how many.
        """
        if cache:
            return self.call(self.aio.clean(dry_run=dry_run, older_than=older_than, states=states, cache=True))
        total: CleaningJson = {"runs": [], "bytes": 0, "returned": 0, "dry_run": dry_run}
        more = True
        while more:  # a long cleaning is several requests
            part = self.call(self.aio.clean(dry_run=dry_run, older_than=older_than, states=states))
            total["runs"] += part["runs"]
            total["bytes"] += part["bytes"]
            total["returned"] += part["returned"]
            more = bool(part.get("more"))
        return total

    def audit(self, limit: int = 100) -> list[JsonObject]:
        """Entries of the audit log (who changed what, and when), the newest first. Needs the scope `admin`."""

        async def fetch(cursor: str | None, size: int) -> CursorPage[JsonObject]:
            return await self.aio.audit(cursor=cursor, limit=size)

        return self.call(collect_pages(fetch, _AUDIT_PAGE, limit))

    def export(
        self, path: str | os.PathLike[str], *, state: str | None = None, pipeline: str | None = None
    ) -> int:
        """Write every ended run as a line of JSON to the file `path`, the newest first; how many.

        The file is there as a whole or not at all.
        """
        states = [s for s in (state.split(",") if state else sorted(ENDED)) if s]
        not_ended = [s for s in states if s not in ENDED]
        if not_ended:
            raise InvalidInput(f"{not_ended[0]!r} has not ended; ended are: {', '.join(sorted(ENDED))}")
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                count = self.call(self._export(file, states, pipeline), _EXPORT_TIMEOUT)
            os.replace(temporary, target)
        except OSError as error:
            raise InvalidInput(f"{target} cannot be written: {error.strerror}") from None
        finally:
            temporary.unlink(missing_ok=True)
        return count

    async def _export(self, file: TextIO, states: list[str], pipeline: str | None) -> int:
        count, cursor = 0, None
        while True:
            views, cursor = await self.aio.runs(
                states=states, pipeline=pipeline, cursor=cursor, limit=_RUNS_PAGE
            )
            for view in views:
                file.write(view.model_dump_json() + "\n")
            count += len(views)
            if cursor is None:
                return count

    # -- dead letters ---------------------------------------------------------------------------
    def dead_letters(self, limit: int = 50) -> list[DeadLetterJson]:
        """Runs that exhausted their attempts, newest first, at most `limit`.

        Each has its context: `{id, name, pipeline, task, stage, attempt, error, log, crashes, died_at, tasks,
        usage, ...}`; `error` is the last one, `log` the end of the worker's log.
        """

        async def fetch(cursor: str | None, size: int) -> CursorPage[DeadLetterJson]:
            return await self.aio.dead_letters(cursor=cursor, limit=size)

        return self.call(collect_pages(fetch, _LETTERS_PAGE, limit))

    def requeue(self, run_id: str, from_task: str | None = None) -> Run:
        """Try a dead run again, from `from_task` on if given; its finished work is kept. Conflict when it is
        not dead."""
        return Run(self, self.call(self.aio.requeue(run_id, from_task)))

    def discard(self, run_id: str) -> None:
        """Remove a dead run with all that is its own. Conflict when it is not dead."""
        self.call(self.aio.discard(run_id))


def _present(**values: object) -> JsonObject:
    """The values that are not None."""
    return {name: value for name, value in values.items() if value is not None}
