"""Snapshots of runs: a row beside the head, that may be missing, old or damaged; then the log is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from po_jupyter.errors import CorruptRow
from po_jupyter.store.json_codec import JsonText
from po_jupyter.store.keyed.shard import Shard


def key(run: str) -> str:
    """The key of a run's snapshot."""
    return f"snap/{run}"


def read(shard: Shard, runs: Sequence[str]) -> dict[str, Any]:
    """The snapshots of those runs that have one which can be read."""
    found = shard.read_rows([key(run) for run in runs])
    of = {run: found.get(key(run)) for run in runs}
    return {run: value for run, value in of.items() if value is not None and not isinstance(value, CorruptRow)}


def write(shard: Shard, runs: Sequence[str], texts: Mapping[str, JsonText]) -> None:
    """Replace the snapshots of these runs by `texts`; those that are gone get none."""
    for run in runs:
        if shard.text(f"head/{run}") is not None:
            shard.write(key(run), texts[run])
