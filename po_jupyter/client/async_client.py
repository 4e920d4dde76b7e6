"""The async HTTP client of an orchestrator: one method for each route.

It is bound to the event loop that it is first used on. Errors come back as the exceptions of `errors.py`, as
the orchestrator raised them; when nothing answers it is `Unavailable`, which says what to do.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, cast

from po_jupyter.client.follow import RunStreams, TextDelta, parse_run
from po_jupyter.client.http.payloads import (
    ArtifactJson,
    ChannelJson,
    CleaningJson,
    DeadLetterJson,
    FindingJson,
    KeyJson,
    ModelJson,
    PipelineJson,
    ReadinessJson,
    RowFileJson,
    RowJson,
    StageLogJson,
    TokenJson,
    UsageJson,
    WorkersJson,
)
from po_jupyter.client.http.responses import read_response
from po_jupyter.client.http.schedules import AsyncSchedules
from po_jupyter.client.http.sse import SseMessage
from po_jupyter.client.http.transport import Endpoint, Transport, params_of, path_segment, quiet_params
from po_jupyter.client.inspection import AsyncInspection
from po_jupyter.errors import InvalidInput, NotFound
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.json import JsonObject

_PROVIDER = re.compile(r"[a-z0-9_-]{1,30}")
__all__ = ["AsyncClient", "Endpoint", "TextDelta"]


class AsyncClient:
    """One orchestrator.

    `timeout` is of one request, in seconds, and how long a lost stream is looked for. `relocate` as in `Transport`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout: float = 30.0,
        relocate: Callable[[], Endpoint | None] | None = None,
    ) -> None:
        """Connects at the first request."""
        self._transport = Transport(endpoint, timeout, relocate)
        self._streams = RunStreams(self._transport)
        self.inspection, self.schedules = AsyncInspection(self._transport), AsyncSchedules(self._transport)

    def __repr__(self) -> str:
        """Its URL, without the token."""
        return f"AsyncClient({self.endpoint.url!r})"

    @property
    def endpoint(self) -> Endpoint:
        """The address of the orchestrator as it is now."""
        return self._transport.endpoint

    async def __aenter__(self) -> AsyncClient:
        """Itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    # -- the orchestrator -----------------------------------------------------------------------
    async def health(self) -> JsonObject:
        """`{"status": "ok"}`."""
        return await self._transport.json("GET", "health")

    async def ready(self) -> ReadinessJson:
        """Readiness: whether runs can be started, `{ready, orchestrator, store}`."""
        response = await self._transport.send("GET", "ready")
        if response.status_code in (200, 503):
            with suppress(ValueError):
                data = response.json()
                if isinstance(data, dict) and "ready" in data:
                    return cast("ReadinessJson", data)
        return cast("ReadinessJson", read_response(self.endpoint.url, response))

    async def meta(self) -> JsonObject:
        """Version, user, data directory, providers; see HTTP.md."""
        return await self._transport.json("GET", "meta")

    async def models(self, *, word: str | None = None, provider: str | None = None) -> list[ModelJson]:
        """The models that the orchestrator knows, usable ones first."""
        data = await self._transport.json("GET", "models", params=params_of(word=word, provider=provider))
        return list(data["models"])

    # -- pipelines ------------------------------------------------------------------------------
    async def pipelines(self) -> list[PipelineJson]:
        """The registered pipelines: `{name, version, revision, updated_at, tasks}` each."""
        data = await self._transport.json("GET", "pipelines")
        return list(data["pipelines"])

    async def pipeline(self, name: str) -> JsonObject:
        """A registered definition. NotFound."""
        data = await self._transport.json("GET", f"pipelines/{path_segment(name)}")
        return dict(data["pipeline"])

    async def put_pipeline(self, name: str, definition: Mapping[str, object]) -> JsonObject:
        """Register a definition; the same content again changes nothing. InvalidPipeline."""
        data = await self._transport.json("PUT", f"pipelines/{path_segment(name)}", body=dict(definition))
        return dict(data["pipeline"])

    async def delete_pipeline(self, name: str) -> None:
        """Forget a registered pipeline; its runs keep their copy. NotFound."""
        await self._transport.json("DELETE", f"pipelines/{path_segment(name)}")

    async def validate(self, pipeline: JsonObject | str, seed: JsonObject | None = None) -> JsonObject:
        """Check without starting anything: `{ok, pipeline, warnings}`. InvalidPipeline, InvalidSeed."""
        body = {"pipeline": pipeline} if seed is None else {"pipeline": pipeline, "seed": seed}
        return await self._transport.json("POST", "pipelines/validate", body=body, safe=True)

    async def estimate(self, body: Mapping[str, object]) -> JsonObject:
        """The estimated cost of a run with that body; starts nothing. See `Client.estimate`."""
        return await self._transport.json("POST", "runs/estimate", body=dict(body), safe=True)

    # -- files of rows --------------------------------------------------------------------------
    async def put_rows(self, file: IO[bytes], sha256: str) -> RowFileJson:
        """Keep a file of rows (JSON lines) under its SHA-256: `{sha256, bytes, rows}`. It travels once."""
        with suppress(NotFound):
            data = await self._transport.json("GET", f"blobs/{path_segment(sha256)}")
            return cast("RowFileJson", data["blob"])
        data = await self._transport.json("PUT", f"blobs/{path_segment(sha256)}", file=file, safe=True)
        return cast("RowFileJson", data["blob"])

    # -- runs -----------------------------------------------------------------------------------
    async def submit(self, body: Mapping[str, object]) -> RunView:
        """Start a run; `body` as in POST runs. When this returns the run is durable.

        Without an idempotency key it gets one, so that a lost answer can be asked for again
        without starting the run twice.
        """
        body = {"idempotency_key": f"auto-{secrets.token_hex(12)}", **body}
        return parse_run(await self._transport.json("POST", "runs", body=body, safe=True))

    async def runs(
        self,
        *,
        states: Sequence[str] = (),
        pipeline: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[list[RunView], str | None]:
        """Runs from the newest to the oldest, and the cursor of the next page or None."""
        params = params_of(state=",".join(states) or None, pipeline=pipeline, cursor=cursor, limit=limit)
        data = await self._transport.json("GET", "runs", params=params)
        return [RunView.model_validate(run) for run in data["runs"]], data.get("next")

    async def run(self, run_id: str, *, quiet: bool = False) -> RunView:
        """One run, by its id or a unique part of it. `quiet` requests do not count as the user's activity."""
        return await self._streams.view(run_id, quiet=quiet)

    def events(self, run_id: str, since: int = 0) -> AsyncGenerator[SseMessage, None]:
        """Every event of a run with an offset above `since`, then `end`; survives a lost connection."""
        return self._streams.events(run_id, since)

    def follow(self, run_id: str, *, every: float = 0.15) -> AsyncGenerator[RunView | TextDelta, None]:
        """The run now and after each change, at most once in `every` seconds, until it ended; texts in between."""
        return self._streams.follow(run_id, every=every)

    async def wait_end(self, run_id: str) -> RunView:
        """The run after it ended. A waiting gate keeps it waiting."""
        return await self._streams.wait_end(run_id)

    async def delete(self, run_id: str) -> None:
        """Remove an ended run. Conflict while it has not ended."""
        await self._transport.json("DELETE", f"runs/{path_segment(run_id)}")

    async def cancel(self, run_id: str) -> RunView:
        """Ask the run to stop; what is finished is kept."""
        return parse_run(
            await self._transport.json("POST", f"runs/{path_segment(run_id)}/cancel", body={}, safe=True)
        )

    async def resume(
        self,
        run_id: str,
        *,
        from_task: str | None = None,
        only_failed: bool = False,
        budget: Mapping[str, object] | None = None,
        rows: Mapping[str, Sequence[int]] | None = None,
        include_done: bool = False,
    ) -> RunView:
        """Go on with an ended run; with `rows` (indexes by map) only those. Conflict when there is nothing to go on
        with."""
        body = params_of(
            from_task=from_task, only_failed=only_failed or None, budget=budget and dict(budget),
            rows=rows and {task: list(indexes) for task, indexes in rows.items()},
            include_done=include_done or None,
        )  # fmt: skip
        return parse_run(await self._transport.json("POST", f"runs/{path_segment(run_id)}/resume", body=body))

    async def restart(
        self, run_id: str, task: str | None = None, *, only: bool = False, clear_usage: bool = False
    ) -> RunView:
        """Do an ended run again. Conflict while it has not ended."""
        body = params_of(task=task, only=only or None, clear_usage=clear_usage or None)
        return parse_run(await self._transport.json("POST", f"runs/{path_segment(run_id)}/restart", body=body))

    async def fork(
        self,
        run_id: str,
        from_task: str,
        *,
        seed: JsonObject | None = None,
        pipeline: JsonObject | str | None = None,
    ) -> RunView:
        """A new run with the checkpoints of the tasks before `from_task`; `seed` is an envelope. A lost answer can be
        asked for again without a second fork: it has an idempotency key."""
        key = f"auto-{secrets.token_hex(12)}"
        body = params_of(from_task=from_task, seed=seed, pipeline=pipeline, idempotency_key=key)
        return parse_run(
            await self._transport.json("POST", f"runs/{path_segment(run_id)}/fork", body=body, safe=True)
        )

    async def dead_letters(
        self, *, cursor: str | None = None, limit: int = 50
    ) -> tuple[list[DeadLetterJson], str | None]:
        """Runs that exhausted their attempts, newest first, and the cursor of the next page or None."""
        data = await self._transport.json("GET", "dead-letters", params=params_of(cursor=cursor, limit=limit))
        return list(data["dead_letters"]), data.get("next")

    async def requeue(self, run_id: str, from_task: str | None = None) -> RunView:
        """Try a dead run again. Conflict when it is not dead."""
        body = params_of(from_task=from_task)
        return parse_run(
            await self._transport.json("POST", f"dead-letters/{path_segment(run_id)}/requeue", body=body)
        )

    async def discard(self, run_id: str) -> None:
        """Remove a dead run. Conflict when it is not dead."""
        await self._transport.json("DELETE", f"dead-letters/{path_segment(run_id)}")

    async def gate(self, run_id: str, decision: str, note: str = "", *, task: str | None = None) -> RunView:
        """Decide the open gate, or only that of `task`: `approve` or `reject`. Conflict when it was decided before, or
        another one is open."""
        body = params_of(decision=decision, note=note or None, task=task)
        return parse_run(await self._transport.json("POST", f"runs/{path_segment(run_id)}/gate", body=body))

    async def outputs(self, run_id: str, task: str | None = None) -> JsonObject:
        """Outputs of the finished tasks, or of one."""
        data = await self._transport.json(
            "GET", f"runs/{path_segment(run_id)}/outputs", params=params_of(task=task)
        )
        return dict(data["outputs"])

    async def artifacts(self, run_id: str) -> list[ArtifactJson]:
        """The run's artifacts: `{name, task, bytes, sha256, path}` each; `path` on the orchestrator's machine."""
        return list((await self._transport.json("GET", f"runs/{path_segment(run_id)}/artifacts"))["artifacts"])

    async def artifact(self, run_id: str, name: str) -> bytes:
        """The content of an artifact. NotFound."""
        response = await self._transport.send(
            "GET", f"runs/{path_segment(run_id)}/artifacts/{path_segment(name)}"
        )
        if response.is_success:
            return response.content
        read_response(self._transport.endpoint.url, response)
        raise AssertionError("read_response raises for every other status")

    async def items(
        self, run_id: str, task: str, *, cursor: str | None = None, limit: int = 1000, **which: str | None
    ) -> tuple[list[RowJson], str | None]:
        """Rows of a map: `{index, ok, output, error, usage}`; `result="true"`: those that an operator made."""
        params = params_of(task=task, cursor=cursor, limit=limit, **which)
        data = await self._transport.json("GET", f"runs/{path_segment(run_id)}/items", params=params)
        return list(data["items"]), data.get("next")

    async def calls(
        self,
        run_id: str,
        *,
        task: str | None = None,
        state: str | None = None,
        cursor: str | None = None,
        limit: int = 200,
    ) -> tuple[list[JsonObject], str | None]:
        """Calls to models, from the journal; `state` `unknown` are those whose outcome was lost."""
        params = params_of(task=task, state=state, cursor=cursor, limit=limit)
        data = await self._transport.json("GET", f"runs/{path_segment(run_id)}/calls", params=params)
        return list(data["calls"]), data.get("next")

    async def logs(
        self, run_id: str, *, task: str | None = None, stage: str | None = None
    ) -> list[StageLogJson]:
        """The output of stages: `{task, stage, name, bytes, text, cut}` of each log, `text` its last 64 KB."""
        params = params_of(task=task, stage=stage)
        return list(
            (await self._transport.json("GET", f"runs/{path_segment(run_id)}/logs", params=params))["logs"]
        )

    async def history(self, run_id: str, since: int = 0, limit: int = 1000) -> list[JsonObject]:
        """Stored events with an offset above `since`, at most `limit`."""
        params = {**params_of(since=since, limit=limit), **quiet_params(True)}
        data = await self._transport.json("GET", f"runs/{path_segment(run_id)}/events", params=params)
        return list(data["events"])

    # -- room and history -----------------------------------------------------------------------
    async def usage(self, days: int = 30) -> UsageJson:
        """Usage of my calls in the last `days` days and the room that my runs take; see `Client.usage`."""
        return cast("UsageJson", await self._transport.json("GET", "usage", params=params_of(days=days)))

    async def clean(
        self,
        *,
        dry_run: bool = False,
        older_than: float | None = None,
        states: Sequence[str] = (),
        cache: bool = False,
    ) -> CleaningJson:
        """Delete old ended runs: `{runs, bytes, returned, dry_run}`. `older_than` is in days. With `cache` the
        cached answers of models instead: `{..., cache: {answers, bytes}}`."""
        body = params_of(
            dry_run=dry_run, older_than=older_than, states=list(states) or None, cache=cache or None
        )
        return cast("CleaningJson", await self._transport.json("POST", "clean", body=body, safe=dry_run))

    async def audit(
        self, *, cursor: str | None = None, limit: int = 100
    ) -> tuple[list[JsonObject], str | None]:
        """Entries of the audit log, the newest first, and the cursor of the next page or None."""
        data = await self._transport.json("GET", "audit", params=params_of(cursor=cursor, limit=limit))
        return list(data["entries"]), data.get("next")

    # -- keys -----------------------------------------------------------------------------------
    async def keys(self) -> list[KeyJson]:
        """The state of each provider's key, without the key."""
        return list((await self._transport.json("GET", "keys"))["keys"])

    async def set_key(self, provider: str, key: str) -> KeyJson:
        """Keep a key where the orchestrator runs. InvalidInput."""
        if not _PROVIDER.fullmatch(provider):  # a key in its place must not become a part of a URL
            raise InvalidInput("that is not the name of a provider", hint="For example openai or anthropic.")
        data = await self._transport.json("PUT", f"keys/{provider}", body={"key": key})
        return cast("KeyJson", data["key"])

    async def remove_key(self, provider: str) -> None:
        """Forget a stored key. NotFound when there is none."""
        if not _PROVIDER.fullmatch(provider):
            raise InvalidInput("that is not the name of a provider", hint="For example openai or anthropic.")
        await self._transport.json("DELETE", f"keys/{provider}")

    # -- tokens ---------------------------------------------------------------------------------
    async def tokens(self) -> list[TokenJson]:
        """The scoped tokens, without the tokens themselves."""
        return list((await self._transport.json("GET", "tokens"))["tokens"])

    async def create_token(
        self, scopes: Sequence[str], *, expires: float, name: str = ""
    ) -> tuple[str, TokenJson]:
        """A new token for `expires` seconds, and what is kept of it."""
        body = {"scopes": list(scopes), "expires": expires, "name": name}
        data = await self._transport.json("POST", "tokens", body=body)
        return str(data["secret"]), cast("TokenJson", data["token"])

    async def revoke_token(self, token_id: str) -> None:
        """Make a token worth nothing. NotFound."""
        await self._transport.json("DELETE", f"tokens/{path_segment(token_id)}")

    async def doctor(self, *, online: bool = False) -> list[FindingJson]:
        """Findings of the orchestrator's checks of itself."""
        data = await self._transport.json("GET", "doctor", params={"online": "true"} if online else None)
        return list(data["findings"])

    async def workers(self) -> WorkersJson:
        """The nodes of the store; see `Client.workers`."""
        return cast("WorkersJson", await self._transport.json("GET", "workers"))

    async def drain_node(self, node: str) -> None:
        """Have a node give its runs to others. NotFound, Conflict."""
        await self._transport.json("POST", f"workers/{path_segment(node)}/drain", body={})

    async def notifications(self) -> list[ChannelJson]:
        """The channels that are told of ends, failures and gates; see `Client.notifications`."""
        return list((await self._transport.json("GET", "notifications"))["channels"])
