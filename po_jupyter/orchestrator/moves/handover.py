"""A run of one's own is handed over to the service of shared runs, with all that it did (the side that gives).

    check ── release ── pack ── send ──► run.moved ──► accept ──► run.move_accepted
    the run is worked off here      │ nobody does │  there

Killed on the left of `run.moved` the run goes on here, and nobody has the file accepted that was sent. After it the run
is worked off there alone: that it is accepted is tried again until it is answered, here (`finish_all`) and by whoever
moves the run again. What is refused for good comes back as it was.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast

import structlog

from po_jupyter.config import Settings
from po_jupyter.config import owner as store_owner
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Conflict, Forbidden, InvalidInput, NotFound, PoError, StoreError
from po_jupyter.llm.credentials.team import is_of_team
from po_jupyter.llm.specs import spec_of
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.model.run.names import actor_of, short_id
from po_jupyter.model.run.row_file_ref import RowFileRef, refs_in
from po_jupyter.model.run.row_index import levels_of
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.control.child_runs import check_is_whole
from po_jupyter.orchestrator.control.run_files import run_directory
from po_jupyter.orchestrator.dispatch.protocol import Dispatcher
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.environment.permission import check_may_run
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.moves.archive import files_of, write_archive
from po_jupyter.orchestrator.moves.shared_service import SharedRunsService
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.platform import processes
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.keyed.run_import import rows_of
from po_jupyter.store.keyed.store import KeyedStore
from po_jupyter.store.protocol import Commit, Head, Lease, Store
from po_jupyter.telemetry.correlation import actor

log = structlog.get_logger(__name__)

SHARED = "shared"
_DOCUMENTS = "move"  # the moves that are not finished, by run
_PATIENCE = 20.0  # s that one request may take; its caller asks again
_AGAIN = 30.0  # s until moves are tried again that could not be finished


class RunHandovers:
    """Hands runs of this server over. `owner` None may move everybody's."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        projections: RunProjections,
        runs: RunQueries,
        dispatcher: Dispatcher,
        changes: ChangeFeed,
        *,
        keys: KeyStore,
        row_files: RowFiles,
        to_thread: ToThread,
    ) -> None:
        """Nothing is moved yet."""
        self._settings = settings
        self._store = cast("KeyedStore", store)
        self._projections = projections
        self._runs = runs
        self._dispatcher = dispatcher
        self._changes = changes
        self._keys = keys
        self._row_files = row_files
        self._to_thread = to_thread
        self._service = SharedRunsService(settings, keys, to_thread)
        self._moving: dict[str, asyncio.Task[None]] = {}

    # -- on request -----------------------------------------------------------------------------

    async def move(self, run_id: str, owner: str | None, to: str, group: str = "") -> RunView:
        """Move a run; asked again it is joined, finished, or there already. The view says `moved`, with `accepted` once
        it is there; without, the move is under way and is asked for again.

        Raises Conflict, Forbidden, InvalidInput and InvalidEnvironment before anything was moved, Unavailable.
        """
        if to != SHARED:
            raise InvalidInput(f"a run is moved to `{SHARED}`, not to {to!r:.40}")
        if self._settings.hub_behalf:
            raise Conflict("this is the service of shared runs: its runs are shared already")
        self._check_person(owner)
        head = await self._runs.find_readable(run_id, owner)
        check_is_whole(head)
        run = head["run"]
        if run not in self._moving:
            by = actor.get() or actor_of(owner)
            self._moving[run] = asyncio.create_task(self._move(head, group, by), name=f"move {run}")
            self._moving[run].add_done_callback(lambda task: task.cancelled() or task.exception())
        moving = self._moving[run]
        await asyncio.wait({moving}, timeout=_PATIENCE)
        if moving.done():
            self._moving.pop(run, None)
            moving.result()
        return await self._runs.newest_view(run)

    async def shared_runs(self, owner: str | None) -> tuple[str, str]:
        """The address of the service of shared runs, and the token for it of the person whose server this is.
        Forbidden for anybody else, Unavailable, InvalidInput."""
        self._check_person(owner)
        return await self._service.address()

    def _check_person(self, owner: str | None) -> None:
        person = store_owner.owner_of(self._settings.data_dir).owner
        if owner not in (None, person):
            raise Forbidden(
                f"shared runs are asked for here with the token of {person}, whose server this is",
                hint="Ask for yours in a server of your own, or with a token of yours: po ... --on shared",
            )

    async def close(self) -> None:
        """End what is under way; it goes on where it was when it is asked for again."""
        for task in self._moving.values():
            task.cancel()
        await asyncio.gather(*self._moving.values(), return_exceptions=True)

    # -- the way of a run -----------------------------------------------------------------------

    async def _move(self, head: Head, group: str, by: str) -> None:
        run = head["run"]
        if head["state"] != "moved":
            await self._service.check(await self._to_thread(self._checked, head, group), group)
            await self._dispatcher.release(run)
            try:
                await self._hand_over(run, group, by)
            finally:
                await self._dispatcher.take_back(run)
        elif (state := await self._to_thread(self._projections.state, head)).moved is not None:
            if state.moved["group"] != group:
                raise Conflict(
                    f"run {short_id(run)} was moved to "
                    + (f"the group {state.moved['group']!r}" if state.moved["group"] else "yourself")
                )
            if state.moved["accepted"]:
                return
        await self._finish(run)

    def _checked(self, head: Head, group: str) -> JsonObject:
        """What the service is asked about the run. Raises Conflict, Forbidden for what can be seen here. Blocks."""
        run, state = head["run"], self._projections.state(head)
        if any(other.get("parent") == run for other in self._store.active()) or state.open_shards:
            raise Conflict(
                f"child runs of run {short_id(run)} are at work, and are not moved",
                hint="Move it when its maps with shards are done.",
            )
        if any(task.kind == "pipeline" and task.shards for task in state.tasks.values()):
            raise Conflict(
                f"a task of run {short_id(run)} ran a pipeline, in a run of its own that is not moved with it",
                hint="Start it among the shared runs: po run ... --on shared",
            )
        definition = self._projections.definition(run)
        pipeline = self._projections.pipeline(run)
        check_may_run(pipeline, self._settings, code_allowed=False, model=definition.options.model)
        self._check_batches(state, group)
        return {"run": run, "pipeline": pipeline.to_json(), "model": definition.options.model}

    def _check_batches(self, state: RunState, group: str) -> None:
        environ, _ = self._keys.environment(self._settings.worker_env)
        for task in state.tasks.values():
            for batch in task.batches.values():
                spec = spec_of(str(batch.get("provider")))
                if group or spec is None or not is_of_team(spec, environ, self._settings.hub_url):
                    raise Conflict(
                        f"a batch of task {task.name!r} is at its provider, and only who sent it can collect it",
                        hint="Move the run when the batch is collected.",
                    )

    async def _hand_over(self, run: str, group: str, by: str) -> None:
        """Everything up to the commit of the move; the run is nobody's when it raises."""
        lease, head = await self._to_thread(self._claim, run)
        try:
            sha256 = await self._to_thread(self._pack, head)
            crashpoint("move.packed")
            await self._service.put(sha256, self._path(run), group)
            crashpoint("move.sent")
            moved = draft("run.moved", to=SHARED, group=group, sha256=sha256, by=by, from_state=head["state"])
            await self._to_thread(self._store.put, _DOCUMENTS, run, {"sha256": sha256, "group": group})
            commit = Commit(events=[moved], state="moved", release=True)
            await self._to_thread(self._store.commit, lease, commit)
            crashpoint("move.committed")
        except BaseException:
            with suppress(
                StoreError
            ):  # of a lease that is stale; or the next look at the run finds its holder gone
                await asyncio.shield(self._to_thread(self._store.commit, lease, Commit(release=True)))
            raise

    def _claim(self, run: str) -> tuple[Lease, Head]:
        head = self._store.head(run)
        holder = head["holder"]
        if holder is not None and (processes.alive(holder) or not processes.is_local(holder)):
            raise Conflict(
                f"run {short_id(run)} is at work elsewhere (process {holder['pid']} on {holder['host']})",
                hint="Cancel it, or drain that node, and move it then.",
            )
        me: processes.Identity = {**processes.myself(), "reserves": True}
        if self._settings.node is not None:
            me["node"] = self._settings.node
        return self._store.claim(run, me, expect=head["fence"]), self._store.head(run)

    def _path(self, run: str) -> Path:
        return self._settings.data_dir / "moves" / f"{run}.run"

    def _pack(self, head: Head) -> str:
        run = head["run"]
        definition = self._store.definition(run)
        seed = definition["seed"]
        refs = [ref for _, ref in refs_in(seed.get("data") or {})]
        for _, level in levels_of(seed.get("index")):
            refs += [ref for _, ref in refs_in({"values": level.get("values")})]
        seeds = [self._seed_file(head["owner"], ref) for ref in dict.fromkeys(refs)]
        return write_archive(
            self._path(run),
            {"head": {**head, "holder": None}, "definition": definition},
            rows_of(self._store, run, head["n"]),
            files_of(run_directory(self._settings.data_dir, run)),
            seeds,
        )

    def _seed_file(self, owner: str, ref: RowFileRef) -> Path:
        self._row_files.info(owner, ref.sha256)  # brought here, where nodes share files
        return self._row_files.path(owner, ref.sha256)

    # -- after the commit of the move -----------------------------------------------------------

    async def _finish(self, run: str) -> None:
        """Have a run that has moved accepted there. Raises what keeps it from that; the move stays open then, unless
        the service refused the run for good."""
        document = await self._to_thread(self._document, run)
        sha256, group = str(document["sha256"]), str(document["group"])
        try:
            try:
                await self._service.accept(sha256, group)
            except NotFound:  # kept there for a day
                await self._service.put(sha256, self._path(run), group)
                await self._service.accept(sha256, group)
        except PoError as error:
            if error.details.get("handover") != "refused":
                raise
            await self._to_thread(self._take_back, run, error)
            await self._dispatcher.changed(run)
            raise
        crashpoint("move.accepted")
        await self._to_thread(self._note, run, draft("run.move_accepted"), None)
        self._changes.changed(run)

    def _document(self, run: str) -> JsonObject:
        """What is to be accepted. The log has it too: another node may have found the document before the commit."""
        document = self._store.get(_DOCUMENTS, run)
        if document is None:
            moved = self._moved(run)
            document = {"sha256": moved["sha256"], "group": moved["group"]}
            self._store.put(_DOCUMENTS, run, document)
        return dict(document)

    def _moved(self, run: str) -> JsonObject:
        """The data of the last `run.moved`."""
        events = (event for record in self._store.records(run) for event in record["events"])
        *_, moved = (event["data"] for event in events if event["type"] == "run.moved")
        return moved

    def _take_back(self, run: str, error: PoError) -> None:
        state = str(self._moved(run)["from_state"])
        self._note(run, draft("run.move_refused", state=state, error=error.message), state)

    def _note(self, run: str, event: EventDraft, state: str | None) -> None:
        with suppress(NotFound):  # deleted meanwhile
            self._store.request(run, [event], state)
        crashpoint("move.noted")
        self._store.drop(_DOCUMENTS, run)
        self._path(run).unlink(missing_ok=True)

    async def finish_all(self) -> None:
        """Finish the moves that were interrupted; what cannot be finished now is tried again. Never raises."""
        try:
            for run in await self._to_thread(self._store.names, _DOCUMENTS):
                if run in self._moving:
                    continue
                try:
                    head = await self._to_thread(self._store.head, run)
                    if head["state"] == "moved":
                        await self._finish(run)
                        continue
                except NotFound:
                    pass
                await self._to_thread(
                    partial(self._store.drop, _DOCUMENTS, run)
                )  # it did not come to its commit
        except PoError as error:
            log.warning("a move is not finished yet", error=error.message)


class MoveFinisher:
    """Finishes interrupted moves in the background: a `BackgroundJob` of who holds the store."""

    def __init__(self, handovers: RunHandovers) -> None:
        """Not started yet."""
        self._handovers = handovers
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._finish_often(), name="moves")

    async def _finish_often(self) -> None:
        while True:
            await self._handovers.finish_all()
            await asyncio.sleep(_AGAIN)

    async def close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
