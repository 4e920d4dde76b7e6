"""Two small lists that every shard keeps about its runs, so that nothing ever has to walk all rows.

`idx` counts pages; `idx/<k>` is `{low, ids}`: ids in ascending order, none below `low`, the pages in ascending
order too. A page is split off when the last one is full; an id that comes late (a reservation redeemed after a
crash) is put where it belongs. `active` is the list of runs that have not ended.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b

from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.keyed.shard import Shard

PAGE = 128  # ids; a page is rewritten by every run that is created, so it is kept small


def digest(text: str) -> bytes:
    """The value by which backends filter: any text, of any length, as a database and its indexes take it."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _page(shard: Shard, k: int) -> JsonObject:
    page = shard.read(f"idx/{k}")
    return page if page is not None else {"low": "", "ids": []}


def _page_of(shard: Shard, run: str, count: int) -> int:
    """The last page whose `low` is not above `run`, or the first one."""
    if _page(shard, count - 1)["low"] <= run:
        return count - 1  # nearly always: ids grow with time
    low, high = 0, count - 1
    while low < high:
        middle = (low + high + 1) // 2
        if _page(shard, middle)["low"] <= run:
            low = middle
        else:
            high = middle - 1
    return low


def add(shard: Shard, run: str) -> None:
    """List `run`; nothing changes when it is listed already."""
    if not shard.keeps_lists:
        return
    count: int = shard.read("idx") or 0
    k = _page_of(shard, run, count) if count else 0
    page = _page(shard, k)
    ids: list[str] = page["ids"]
    if not count or (k == count - 1 and len(ids) >= PAGE and run > ids[-1]):
        shard.write("idx", count + 1)
        shard.write(f"idx/{count}", {"low": run, "ids": [run]})
        return
    at = bisect_left(ids, run)
    if at < len(ids) and ids[at] == run:
        return
    ids.insert(at, run)
    page["low"] = min(page["low"], run)
    shard.write(f"idx/{k}", page)


def remove(shard: Shard, run: str) -> None:
    """Take `run` off the list."""
    if not shard.keeps_lists:
        return
    count: int = shard.read("idx") or 0
    if not count:
        return
    k = _page_of(shard, run, count)
    page = _page(shard, k)
    if run in page["ids"]:
        page["ids"].remove(run)
        shard.write(f"idx/{k}", page)


def older(shard: Shard, than: str | None, limit: int) -> list[str]:
    """Up to `limit` ids below `than` (None: from the newest), newest first."""
    count: int = shard.read("idx") or 0
    if not count:
        return []
    k = count - 1 if than is None else _page_of(shard, than, count)
    older_ids: list[str] = []
    while k >= 0 and len(older_ids) < limit:
        ids = _page(shard, k)["ids"]
        end = len(ids) if than is None else bisect_left(ids, than)
        older_ids.extend(reversed(ids[max(0, end - (limit - len(older_ids))) : end]))
        k -= 1
    return older_ids


def active(shard: Shard) -> list[str]:
    """The runs of this shard that have not ended."""
    return list(shard.read("active") or [])


def set_active(shard: Shard, run: str, is_active: bool) -> None:
    """Remember whether `run` has not ended."""
    if not shard.keeps_lists:
        return
    runs = active(shard)
    if is_active == (run in runs):
        return
    if is_active:
        runs.append(run)
    else:
        runs.remove(run)
    shard.write("active", runs)
