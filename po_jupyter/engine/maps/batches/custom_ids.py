"""Custom ids of a batch's requests. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_STAGES = {"inference": "i", "critique": "c"}
_LETTERS = {letter: stage for stage, letter in _STAGES.items()}
_ID = re.compile(r"(po[0-9a-f]{16})-(\d{1,9})-(\d{1,9})-(\d{1,4})([ic])\Z")


class RequestId(NamedTuple):
    """The request of a row that a line of a batch is: attempt of the map, stage and round of refinement."""

    row: int
    attempt: int
    stage: str
    round: int


def custom_id(token: str, request: RequestId) -> str:
    """The custom id: token, row, attempt, round and stage. At most 64 of `[A-Za-z0-9_-]`, as Anthropic asks."""
    return f"{token}-{request.row}-{request.attempt}-{request.round}{_STAGES[request.stage]}"


def parse_custom_id(token: str, text: str) -> RequestId | None:
    """The request that `custom_id` named; None for an id that is none of the batch with that token."""
    match = _ID.match(text)
    if match is None or match[1] != token:
        return None
    return RequestId(int(match[2]), int(match[3]), _LETTERS[match[5]], int(match[4]))
