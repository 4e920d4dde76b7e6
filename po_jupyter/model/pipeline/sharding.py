"""The number of shards of a map, and which maps may have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from po_jupyter.model.pipeline.violations import OF_NUMBER, OF_TEXT

MOST_SHARDS = 64


def _form_of(value: Any) -> str:
    return OF_TEXT if isinstance(value, str) else OF_NUMBER


ShardCount: TypeAlias = Annotated[
    Annotated[int, Field(ge=1, le=MOST_SHARDS), Tag(OF_NUMBER)] | Annotated[Literal["auto"], Tag(OF_TEXT)],
    Discriminator(_form_of),
]


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
