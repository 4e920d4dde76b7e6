"""Names of runs and of people in messages and events."""

from __future__ import annotations

import secrets
import string
import time
from urllib.parse import quote, unquote

SHORT = 6  # characters of a run's id that people see
_PLAIN = "".join(set(string.punctuation) - {"%"}) + " "


def short_id(run_id: str) -> str:
    """The end of a run's id: the part that people see, and that every command takes."""
    return run_id[-SHORT:]


def actor_of(owner: str | None) -> str:
    """The name under which an action is recorded; `admin` for one who may see all owners (None)."""
    return owner or "admin"


def new_run_id() -> str:
    """A run id: 12 hex digits of the time in milliseconds, 10 random ones. Sorts by time."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(5)}"


def group_in_header(group: str) -> str:
    """A group of a hub as a header names it: percent-encoded, as headers are ASCII and names of groups need not be."""
    return quote(group, safe=_PLAIN)


def group_of_header(text: str) -> str:
    """The group that a header names."""
    return unquote(text)
