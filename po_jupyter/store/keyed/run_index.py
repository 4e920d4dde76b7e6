"""Small lists that every shard keeps about its runs, so that nothing ever has to walk all rows.

`idx` is of whole runs, `parts` of those that are part of another one. Each counts pages; `idx/<k>` is `{low, ids}`: ids
in ascending order, none below `low`, the pages in ascending order too. A page is split off when the last one is full;
an id that comes late (a reservation redeemed after a crash) is put where it belongs. `active` is the list of runs of
both that have not ended.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b
from heapq import nlargest

from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.keyed.shard import Shard

PAGE = 128  # ids; a page is rewritten by every run that is created, so it is kept small
WHOLE, CHILDREN = "idx", "parts"  # keys of the lists


def digest(text: str) -> bytes:
    """The value by which backends filter: any text, of any length, as a database and its indexes take it."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _page(shard: Shard, index: str, k: int) -> JsonObject:
    page = shard.read(f"{index}/{k}")
    return page if page is not None else {"low": "", "ids": []}


def _page_of(shard: Shard, index: str, run: str, count: int) -> int:
    """The last page whose `low` is not above `run`, or the first one."""
    if _page(shard, index, count - 1)["low"] <= run:
        return count - 1  # nearly always: ids grow with time
    low, high = 0, count - 1
    while low < high:
        middle = (low + high + 1) // 2
        if _page(shard, index, middle)["low"] <= run:
            low = middle
        else:
            high = middle - 1
    return low


def add(shard: Shard, run: str, *, is_child: bool = False) -> None:
    """List `run`; nothing changes when it is listed already."""
    if not shard.keeps_lists:
        return
    index = CHILDREN if is_child else WHOLE
    count: int = shard.read(index) or 0
    k = _page_of(shard, index, run, count) if count else 0
    page = _page(shard, index, k)
    ids: list[str] = page["ids"]
    if not count or (k == count - 1 and len(ids) >= PAGE and run > ids[-1]):
        shard.write(index, count + 1)
        shard.write(f"{index}/{count}", {"low": run, "ids": [run]})
        return
    at = bisect_left(ids, run)
    if at < len(ids) and ids[at] == run:
        return
    ids.insert(at, run)
    page["low"] = min(page["low"], run)
    shard.write(f"{index}/{k}", page)


def remove(shard: Shard, run: str) -> None:
    """Take `run` off the lists."""
    if not shard.keeps_lists:
        return
    for index in (WHOLE, CHILDREN):
        count: int = shard.read(index) or 0
        if not count:
            continue
        k = _page_of(shard, index, run, count)
        page = _page(shard, index, k)
        if run in page["ids"]:
            page["ids"].remove(run)
            shard.write(f"{index}/{k}", page)


def older(shard: Shard, than: str | None, limit: int, *, children: bool = False) -> list[str]:
    """Up to `limit` ids below `than` (None: from the newest), newest first; those of children only with `children`."""
    found = _older(shard, WHOLE, than, limit)
    return nlargest(limit, {*found, *_older(shard, CHILDREN, than, limit)}) if children else found


def _older(shard: Shard, index: str, than: str | None, limit: int) -> list[str]:
    count: int = shard.read(index) or 0
    if not count:
        return []
    k = count - 1 if than is None else _page_of(shard, index, than, count)
    older_ids: list[str] = []
    while k >= 0 and len(older_ids) < limit:
        ids = _page(shard, index, k)["ids"]
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
