"""Snapshots of folded runs in the store: so that a list reads one small row a run, and a long log is folded once.

A snapshot is only a cache: `{fold, state, seed}`, of a version of the fold. One that is missing, of another version,
ahead of its run or not what it should be is passed over, and the log is folded from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import structlog

from po_jupyter.engine.state.run_state import RunState
from po_jupyter.engine.state.state_json import FOLD_VERSION, state_from_json, state_to_json
from po_jupyter.errors import InvalidInput, StoreError
from po_jupyter.model.run.view import ENDED
from po_jupyter.model.values.chunked_json import is_larger_than
from po_jupyter.store.protocol import Head, SnapshotStore, Store

log = structlog.get_logger(__name__)

EVERY = 2000  # events of a run that goes on between two snapshots
_LARGEST = 256 * 1024  # characters of a snapshot; a larger state is folded when somebody looks


class FoldedRun(NamedTuple):
    """The state of a run and its seed as lists carry it. `kept` is the offset of its snapshot, 0 without one."""

    state: RunState
    seed: Mapping[str, Any]
    kept: int = 0

    @property
    def is_worth_keeping(self) -> bool:
        """Whether a snapshot would save somebody the fold."""
        behind = self.state.offset - self.kept
        return behind >= EVERY or (behind > 0 and self.state.state in ENDED)


class StateSnapshots:
    """Reads and keeps snapshots. Blocks on the store. Nothing here ever fails because of a snapshot."""

    def __init__(self, store: Store) -> None:
        """Without effect over a store that keeps no snapshots."""
        self._store: SnapshotStore | None = store if isinstance(store, SnapshotStore) else None

    def read(self, heads: Sequence[Head]) -> dict[str, FoldedRun]:
        """What is known of runs, by run: states at or before their heads."""
        if self._store is None or not heads:
            return {}
        known = self._store.snapshots([head["run"] for head in heads])
        found: dict[str, FoldedRun] = {}
        for head in heads:
            folded = _folded(known.get(head["run"]), head)
            if folded is not None:
                found[head["run"]] = folded
        return found

    def keep(self, runs: Iterable[FoldedRun]) -> None:
        """Keep those for which it is worth it."""
        if self._store is None:
            return
        values = {
            folded.state.run: value
            for folded in runs
            if folded.is_worth_keeping and not is_larger_than([value := _as_json(folded)], _LARGEST)
        }
        if not values:
            return
        try:
            self._store.keep_snapshots(values)
        except (StoreError, InvalidInput) as error:  # a full disk, say: nobody needs them
            log.warning("snapshots of runs could not be kept", runs=len(values), error=error.message)


def _as_json(folded: FoldedRun) -> dict[str, Any]:
    return {"fold": FOLD_VERSION, "state": state_to_json(folded.state), "seed": dict(folded.seed)}


def _folded(value: Any, head: Head) -> FoldedRun | None:
    if not isinstance(value, dict) or value.get("fold") != FOLD_VERSION:
        return None
    try:
        state, seed = state_from_json(value["state"]), value["seed"]
        if state.run != head["run"] or not 0 < state.offset <= head["offset"] or not isinstance(seed, dict):
            return None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return FoldedRun(state, seed, state.offset)
