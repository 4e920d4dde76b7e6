"""Which maps may have `shards`."""

from __future__ import annotations

from collections.abc import Sequence

MOST_SHARDS = 64


def shards_problem(for_each: str | None, mode: str | None, files: Sequence[str]) -> str | None:
    """Why a task with these fields cannot have `shards`; None when it can."""
    if for_each is None:
        return "`shards` is for maps; it needs `for_each`"
    if mode == "batch":
        return "`shards` and `mode: batch` do not go together: a batch is worked on by the provider, not by machines"
    if files:
        return (
            "`shards` and `images` or `files` do not go together: files of a run are where the run is worked on"
        )
    return None
