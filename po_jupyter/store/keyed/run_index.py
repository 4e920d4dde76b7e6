"""Two small lists that every shard keeps about its runs, so that nothing ever has to walk all rows.

`idx` counts pages; `idx/<k>` is `{low, ids}`: ids in ascending order, none below `low`, the pages in ascending
order too. A page is split off when the last one is full; an id that comes late (a reservation redeemed after a
crash) is put where it belongs. `active` is the list of runs that have not ended.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Protocol

PAGE = 128  # ids; a page is rewritten by every run that is created, so it is kept small


class Rows(Protocol):
    """The rows of one shard. `write` and `erase` are legal only inside a transaction."""

    def read(self, key: str) -> Any | None:
        """The value, or None."""

    def text(self, key: str) -> bytes | None:
        """The value's JSON, not decoded, or None."""

    def write(self, key: str, value: Any) -> None:
        """`value` (JSON, or a JsonText) under `key`."""

    def erase(self, key: str) -> bool:
        """False when there was none."""

    def measure(self, first: str, end: str) -> int:
        """Bytes of the values whose keys are `first` or above, and below `end`."""

    def reclaim(self) -> None:
        """Shrink to what is needed."""


def _page(rows: Rows, k: int) -> dict[str, Any]:
    page = rows.read(f"idx/{k}")
    return page if page is not None else {"low": "", "ids": []}


def _page_of(rows: Rows, run: str, count: int) -> int:
    """The last page whose `low` is not above `run`, or the first one."""
    if _page(rows, count - 1)["low"] <= run:
        return count - 1  # nearly always: ids grow with time
    low, high = 0, count - 1
    while low < high:
        middle = (low + high + 1) // 2
        if _page(rows, middle)["low"] <= run:
            low = middle
        else:
            high = middle - 1
    return low


def add(rows: Rows, run: str) -> None:
    """List `run`; nothing changes when it is listed already."""
    count: int = rows.read("idx") or 0
    k = _page_of(rows, run, count) if count else 0
    page = _page(rows, k)
    ids: list[str] = page["ids"]
    if not count or (k == count - 1 and len(ids) >= PAGE and run > ids[-1]):
        rows.write("idx", count + 1)
        rows.write(f"idx/{count}", {"low": run, "ids": [run]})
        return
    at = bisect_left(ids, run)
    if at < len(ids) and ids[at] == run:
        return
    ids.insert(at, run)
    page["low"] = min(page["low"], run)
    rows.write(f"idx/{k}", page)


def remove(rows: Rows, run: str) -> None:
    """Take `run` off the list."""
    count: int = rows.read("idx") or 0
    if not count:
        return
    k = _page_of(rows, run, count)
    page = _page(rows, k)
    if run in page["ids"]:
        page["ids"].remove(run)
        rows.write(f"idx/{k}", page)


def older(rows: Rows, than: str | None, limit: int) -> list[str]:
    """Up to `limit` ids below `than` (None: from the newest), newest first."""
    count: int = rows.read("idx") or 0
    if not count:
        return []
    k = count - 1 if than is None else _page_of(rows, than, count)
    found: list[str] = []
    while k >= 0 and len(found) < limit:
        ids = _page(rows, k)["ids"]
        end = len(ids) if than is None else bisect_left(ids, than)
        found.extend(reversed(ids[max(0, end - (limit - len(found))) : end]))
        k -= 1
    return found


def active(rows: Rows) -> list[str]:
    """The runs of this shard that have not ended."""
    return list(rows.read("active") or [])


def set_active(rows: Rows, run: str, is_active: bool) -> None:
    """Remember whether `run` has not ended."""
    runs = active(rows)
    if is_active == (run in runs):
        return
    if is_active:
        runs.append(run)
    else:
        runs.remove(run)
    rows.write("active", runs)
