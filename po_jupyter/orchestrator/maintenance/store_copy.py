"""Copies of a store into another one: a data directory into a PostgreSQL database, and back.

Both are held while it goes on, so no server works on either. A run is there whole or not at all; after an interruption
the same copy is made again and passes over what is there. At the end every run is read in both, and folded.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

from po_jupyter.config import Settings
from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.engine.state.state_json import state_to_json
from po_jupyter.errors import Conflict, InvalidInput, StoreUnusable
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.dispatch.lease import OrchestratorLease, term_of
from po_jupyter.orchestrator.maintenance.call_cache import copy_answers
from po_jupyter.orchestrator.maintenance.shared_copy import OnProgress, share_copied
from po_jupyter.platform import private_file, processes
from po_jupyter.store.disk.snapshot import read_format
from po_jupyter.store.documents import COPY_HOLDER, ORCHESTRATOR_LEASE
from po_jupyter.store.files.tree import TEMPORARY
from po_jupyter.store.keyed.copying import copy_documents, copy_run, digest_of, heads_of
from po_jupyter.store.keyed.store import KeyedStore
from po_jupyter.store.opening import open_store
from po_jupyter.worker.call_cache import KeptAnswers, open_kept_answers

_URLS = ("postgresql://", "postgres://")
_PAGE = 1000  # events that are folded at once
_NODES = 6.0  # s in which a node that works on the store renews its document, at least
_MARGIN = 1.0  # s beyond a term
_FILES = ("runs", "blobs")  # of a data directory: artifacts, logs and databases of runs, rows of seeds


class _StopRequested(Exception):
    """The copy was told to end."""


class StoreCopyReport(TypedDict):
    """What is in the target now: runs, of them `copied` this time, records, documents, cached answers, files and
    their bytes. `checked` runs were read in both, and are the same."""

    source: str
    target: str
    runs: int
    copied: int
    records: int
    documents: int
    answers: int
    files: int
    bytes: int
    checked: int


class _CopiedStore(NamedTuple):
    """A store, where its files are, and its name for people."""

    store: KeyedStore
    files: Path
    name: str
    url: str | None

    def answers(self, settings: Settings) -> KeptAnswers:
        """The cache of calls that belongs to it."""
        return open_kept_answers(settings.model_copy(update={"data_dir": self.files}), self.url)


async def copy(settings: Settings, source: str, target: str, on_progress: OnProgress) -> StoreCopyReport:
    """Copy what is in `source` to `target`, each a data directory or a URL, whose files are in the data directory of
    the settings. `on_progress` gets what is done, how many of it, of how many. When it is cancelled the run or the file
    that is being copied is finished before the stores are given back.

    Raises InvalidInput, NotFound, Conflict while somebody works on one of them, StoreUnusable.
    """
    async with AsyncExitStack() as resources:
        places = []
        for where, is_source in ((source, True), (target, False)):
            place = await asyncio.to_thread(_open, settings, where, is_source)
            resources.enter_context(closing(place.store))
            places.append(place)
        old, new = places
        if old.name == new.name:
            raise InvalidInput("a store cannot be copied into itself")
        for place in places:
            await resources.enter_async_context(_held(place, settings.lease_ttl))
        return await _until_stopped(partial(_copy, settings, old, new), on_progress)


async def _until_stopped(
    work: Callable[[OnProgress], StoreCopyReport], on_progress: OnProgress
) -> StoreCopyReport:
    """`work` in a thread. Cancelled, it is waited for: it ends when it next says how far it is."""
    is_stopping = threading.Event()

    def show(part: str, done: int, total: int) -> None:
        if is_stopping.is_set():
            raise _StopRequested
        on_progress(part, done, total)

    # No task: those are all cancelled when the loop is left by an exception.
    future = asyncio.get_running_loop().run_in_executor(None, work, show)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        is_stopping.set()
        while not future.done():
            with suppress(asyncio.CancelledError):  # whoever asks again waits too
                await asyncio.wait({future})
        future.exception()
        raise


def _open(settings: Settings, where: str, is_source: bool) -> _CopiedStore:
    if where.startswith(_URLS):
        url: str | None = where
        files = settings.data_dir
    else:
        url, files = None, Path(where).expanduser().absolute()
        if is_source:
            read_format(files / "store")  # NotFound: nothing is made of a directory that was mistyped
    store = cast(
        "KeyedStore",
        open_store(
            files / "store", url, shards=settings.store_shards, allow_network=settings.allow_network_store
        ),
    )
    if url is None:
        return _CopiedStore(store, files, str(files), None)
    return _CopiedStore(store, files, cast("Any", store).place, url)


@asynccontextmanager
async def _held(place: _CopiedStore, ttl: float) -> AsyncIterator[None]:
    """Hold the store as an orchestrator does. Raises Conflict when one has it, or a node or a worker is at work."""

    async def nothing() -> None:
        pass

    holder = f"{COPY_HOLDER}{os.getpid()}"
    lease = OrchestratorLease(
        place.store, ttl, holder=holder, to_thread=asyncio.to_thread,
        on_taken=nothing, on_lost=nothing,
    )  # fmt: skip
    await lease.start()
    try:
        document = lease.document or {}
        if not lease.is_held and not (processes.is_local(document) and processes.alive(document)):
            # Of another machine: whether it lives shows when it renews.
            await asyncio.sleep(max(ttl, term_of(document)) + 2)
        if not lease.is_held:
            raise _at_work(place, f"process {document.get('pid')} on {document.get('host')}")
        await asyncio.to_thread(_check_workers, place)
        nodes = await asyncio.to_thread(_nodes, place.store)
        if nodes:
            terms = [term_of(document) + _MARGIN for document in nodes.values()]
            await asyncio.sleep(max(_NODES, *terms))
            await _check_nodes(place, nodes)
        yield
        if not lease.is_held:
            raise _at_work(place, "somebody took it over while it was copied")
        await _check_nodes(place, nodes)
    finally:
        await lease.stop()
        await asyncio.to_thread(_give_back, place.store, holder)


def _give_back(store: KeyedStore, holder: str) -> None:
    """Drop a lease that was renewed in the moment in which it was stopped: nobody shall wait until it lapses."""
    document = store.get(*ORCHESTRATOR_LEASE)
    if document is not None and document.get("holder") == holder:
        store.swap(*ORCHESTRATOR_LEASE, document, None)


async def _check_nodes(place: _CopiedStore, before: Mapping[str, JsonObject]) -> None:
    """Raises Conflict for a node that renewed its document since, or is new."""
    now = await asyncio.to_thread(_nodes, place.store)
    busy = sorted(name for name, document in now.items() if before.get(name) != document)
    if busy:
        raise _at_work(place, f"node {busy[0]}")


def _nodes(store: KeyedStore) -> dict[str, JsonObject]:
    return {name: store.get("node", name) or {} for name in store.names("node")}


def _check_workers(place: _CopiedStore) -> None:
    for head in place.store.active():
        holder = head["holder"]
        if holder is not None and processes.alive(holder):
            raise _at_work(place, f"the worker {holder['pid']} of run {head['run']}")


def _at_work(place: _CopiedStore, user: str) -> Conflict:
    return Conflict(
        f"{place.name} is in use: {user}",
        hint="End what works on it (`po stop`, or the Jupyter server), or copy what `po backup` and `po restore` made.",
    )


# -- in a thread ------------------------------------------------------------------------------------


def _copy(settings: Settings, old: _CopiedStore, new: _CopiedStore, on_progress: OnProgress) -> StoreCopyReport:
    heads = list(heads_of(old.store))
    damaged = next((head for head in heads if "damage" in head), None)
    if damaged is not None:
        raise StoreUnusable(
            f"run {damaged['run']} cannot be copied: {damaged['damage']}",
            hint="Delete that run, or restore the store from a copy. What was copied stays.",
        )
    foreign = {head["run"] for head in heads_of(new.store)} - {head["run"] for head in heads}
    if foreign:
        raise Conflict(
            f"{new.name} has runs of its own, for example {min(foreign)}",
            hint="Copy into a store that is empty.",
        )
    copied = 0
    for done, head in enumerate(heads):  # the newest first, as lists have them
        on_progress("runs", done, len(heads))
        copied += copy_run(old.store, new.store, head["run"])
    documents = copy_documents(old.store, new.store)
    answers = 0
    if settings.cache_max_bytes:
        answers = copy_answers(old.answers(settings), new.answers(settings), on_progress)
    files, size = (0, 0) if old.files == new.files else _copy_files(old.files, new.files, on_progress)
    runs = [head["run"] for head in heads]
    shared, shared_size = share_copied(settings, old.store, new.store, new.files, runs, on_progress)
    for done, head in enumerate(heads):
        on_progress("checked", done, len(heads))
        _check_same(old.store, new.store, head["run"])
    if new_ones := {head["run"] for head in heads_of(old.store)} - {head["run"] for head in heads}:
        raise _at_work(old, f"run {min(new_ones)} was submitted while it was copied")
    on_progress("checked", len(heads), len(heads))
    return {
        "source": old.name, "target": new.name, "runs": len(heads), "copied": copied,
        "records": sum(head["n"] for head in heads), "documents": documents, "answers": answers,
        "files": files + shared, "bytes": size + shared_size, "checked": len(heads),
    }  # fmt: skip


def _check_same(old: KeyedStore, new: KeyedStore, run: str) -> None:
    if digest_of(old, run) != digest_of(new, run) or _folded(old, run) != _folded(new, run):
        raise StoreUnusable(
            f"run {run} is not the same in both stores",
            hint="Use the source. If this happens again, please report it.",
        )


def _folded(store: KeyedStore, run: str) -> JsonObject | str:
    """The state of the run; of a log that cannot be folded, which is no reason to leave the run behind, the error."""
    state = RunState(run)
    try:
        while events := store.events(run, since=state.offset, limit=_PAGE):
            state = fold(state, events)
    except (KeyError, TypeError, ValueError) as error:
        return repr(error)
    return state_to_json(state)


def _copy_files(old: Path, new: Path, on_progress: OnProgress) -> tuple[int, int]:
    """Copy the files of runs and the rows of seeds; how many there are, and their bytes. Links are not followed."""
    count = size = 0
    for name in _FILES:
        for folder, _, names in os.walk(old / name):
            for file in sorted(names):
                path = Path(folder, file)
                if path.is_symlink() or not path.is_file() or file.startswith(TEMPORARY):
                    continue
                on_progress("files", count, 0)
                _copy_file(path, new / path.relative_to(old))
                count, size = count + 1, size + path.stat().st_size
    return count, size


def _copy_file(path: Path, target: Path) -> None:
    info = path.stat()
    try:
        there = target.stat()
        if (there.st_size, there.st_mtime_ns) == (info.st_size, info.st_mtime_ns):
            return
    except FileNotFoundError:
        pass
    try:
        for folder in reversed(target.parents):
            if not folder.exists():
                folder.mkdir(mode=private_file.PRIVATE_DIRECTORY, exist_ok=True)
        temporary = target.with_name(f"{TEMPORARY}{target.name}"[:200])
        shutil.copy2(path, temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise StoreUnusable(
            f"{error.filename or target} cannot be written: {error.strerror or error}",
            hint="Make the same copy again when there is room: what is there is passed over.",
        ) from error
