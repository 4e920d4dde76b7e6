"""The commonest reason why rows of a map failed, for the error of the whole map."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from itertools import islice
from typing import NamedTuple

from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.engine.replay.row_table import FAILED, MapOutput
from po_jupyter.errors import ThresholdExceeded
from po_jupyter.model.values.json import JsonObject

_ROWS = 1000  # failed rows that are looked at: they tend to fail alike
_TEXT = 400  # characters of a reason
_KEPT = ("exception", "traceback", "missing")  # details of a row's error that people need to see


class FailureReason(NamedTuple):
    """An error that `times` of `rows` failed rows ended with; `error` is that of the first of them, as JSON."""

    error: JsonObject
    times: int
    rows: int


async def add_commonest_reason(state: MapState) -> None:
    """Let the error of a map that ended because of its rows say why most of them failed.

    The reasons are read from the log, which has those of earlier workers too. Raises StoreError.
    """
    error = state.error
    if not isinstance(error, ThresholdExceeded):
        return
    await state.flush()
    reason = await asyncio.to_thread(_commonest, state)
    if reason is None:
        return
    row = reason.error
    times = f"most often ({reason.times} times): " if reason.times < reason.rows else ""
    message = _clipped(str(row.get("message") or row.get("code") or "no message"))
    row_details: JsonObject = row.get("details") or {}
    state.error = ThresholdExceeded(
        f"{error.message}: {times}{message}",
        hint="\n".join(filter(None, [str(row.get("hint") or ""), error.hint])),
        details={
            **error.details,
            **{key: row_details[key] for key in _KEPT if key in row_details},
            "reason": {"code": row.get("code"), "message": message, "count": reason.times},
        },
    )


def _commonest(state: MapState) -> FailureReason | None:
    """The commonest error of the first failed rows. Blocks on the store."""
    log = state.parts.log
    rows = MapOutput(log.store, log.run, state.task.name, state.table, state.total)
    counts: Counter[str] = Counter()
    first: dict[str, JsonObject] = {}
    for index in islice(state.table.indexes(FAILED), _ROWS):
        error: JsonObject = rows.read(index).get("error") or {}
        kind = _kind(error)
        counts[kind] += 1
        first.setdefault(kind, error)
    if not counts:
        return None
    kind, count = counts.most_common(1)[0]
    return FailureReason(first[kind], count, counts.total())


def _kind(error: JsonObject) -> str:
    """The kind of an error: its code and its message, numbers aside."""
    return f"{error.get('code')} {re.sub(r'[0-9]+', '#', str(error.get('message')))}"


def _clipped(text: str) -> str:
    return text if len(text) <= _TEXT else text[:_TEXT] + "…"
