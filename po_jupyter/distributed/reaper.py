"""The reaper: gives runs whose node is gone to others. Only the leader has one."""

from __future__ import annotations

import asyncio

import structlog

from po_jupyter.distributed.directory import LOOKS, NodeDirectory
from po_jupyter.distributed.queue_hints import QueueHints
from po_jupyter.distributed.share import NodeShare
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.replay.lost_calls import report_lost_calls, report_lost_progress
from po_jupyter.errors import CorruptRow, NotFound, PoError, StaleFence
from po_jupyter.model.run.events import EventDraft
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.platform import processes
from po_jupyter.store.protocol import Commit, Head, SharedStore

log = structlog.get_logger(__name__)


class Reaper:
    """Takes runs from nodes that are gone: claimed, what was lost said, given back, so that whoever has room goes on.

    A worker there that lives all the same is fenced out by the claim. That a node ends is nobody's crash: nothing is
    counted against the run.
    """

    def __init__(
        self,
        store: SharedStore,
        share: NodeShare,
        directory: NodeDirectory,
        to_thread: ToThread,
        ttl: float,
        hints: QueueHints | None = None,
    ) -> None:
        """Nothing happens before `start`. `hints` publish again what waits for long."""
        self._hints = hints
        self._store = store
        self._share = share
        self._directory = directory
        self._to_thread = to_thread
        self._ttl = ttl
        self._unnamed: dict[str, tuple[int, int, float]] = {}  # fence, n, s for which it stayed so
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(self._reap_often(), name="reaper")

    async def close(self) -> None:
        """End; what a thread has begun it ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _reap_often(self) -> None:
        quiet = self._ttl
        while True:
            gone = [name for name in self._directory.names() if self._directory.is_gone(name)]
            # Between them, runs whose node left no document, and those that no node has.
            if gone or quiet >= self._ttl / 2:
                quiet = 0.0
                try:
                    await self._to_thread(self.reap, gone)
                    if self._hints is not None:
                        heads = await self._to_thread(self._store.waiting, self._hints.window())
                        await self._hints.publish_again(heads, await self._to_thread(self._store.count_waiting))
                except PoError as error:
                    log.warning("cannot look for runs whose node is gone", error=error.message)
                except Exception:  # without this task no run would ever be taken from a dead node again
                    log.exception("unexpected while looking for runs whose node is gone")
            await asyncio.sleep(self._ttl / LOOKS)
            quiet += self._ttl / LOOKS

    def reap(self, gone: list[str]) -> None:
        """Free the runs of nodes that are gone, then forget those nodes. Blocks. Raises StoreError."""
        freed = 0
        heads = self._store.held()
        held = {head["run"] for head in heads}
        self._unnamed = {run: seen for run, seen in self._unnamed.items() if run in held}
        for head in heads:
            try:
                if head["holder"] is not None and self._is_abandoned(head):
                    freed += self.free(head)
            except PoError:  # the store cannot be used: all of it is looked at again
                raise
            except Exception:
                log.exception("unexpected while judging the holder of a run", run=head["run"])
        for name in gone:
            self._directory.forget(name)
            log.warning("a node is gone", node=name, runs=freed)

    def _is_abandoned(self, head: Head) -> bool:
        holder = head["holder"]
        assert holder is not None
        node = holder.get("node")
        if node is not None:
            return self._directory.is_gone(node)
        # Of a server that had the store alone before: its worker, or a claim that ended half way.
        if processes.is_local(holder) and holder["boot"] == processes.boot():
            return not processes.alive(holder)
        fence, n, unchanged = self._unnamed.get(head["run"], (-1, -1, 0.0))
        same = (fence, n) == (head["fence"], head["n"])
        unchanged = unchanged + self._ttl / 2 if same else 0.0
        self._unnamed[head["run"]] = head["fence"], head["n"], unchanged
        return unchanged > 12 * self._ttl

    def free(self, head: Head) -> bool:
        """Take the run from who had it, and give it back; False when somebody else did."""
        run = head["run"]
        try:
            lease = self._store.claim(run, self._share.me, expect=head["fence"])
            self._store.commit(lease, Commit(events=self._losses(run), release=True))
        except (StaleFence, NotFound, CorruptRow) as error:
            log.info("a run was not taken from its node", run=run, reason=error.message)
            return False
        former = head["holder"]
        log.warning("a run goes to another node", run=run, node=former.get("node") if former else None)
        return True

    def _losses(self, run: str) -> list[EventDraft]:
        """What the worker that is gone used and did not live to say."""
        try:
            history = read_history(self._store, run)
            return [*report_lost_progress(history), *report_lost_calls(history)]
        except (
            CorruptRow,
            LookupError,
            TypeError,
            ValueError,
        ) as error:  # whoever works on it next says what is wrong
            log.error("the log of a run cannot be read", run=run, error=repr(error)[:200])
            return []
