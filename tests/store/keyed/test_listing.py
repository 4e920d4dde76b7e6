"""Lists over several shards: in one order, and read no further than is wanted."""

from __future__ import annotations

from itertools import islice

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.store.keyed.listing import before_of, merged


def test_the_shards_are_merged_newest_first_and_read_in_chunks() -> None:
    ids = [[f"{n:03d}" for n in range(shard, 300, 3)] for shard in range(3)]
    reads: list[int] = []

    def read(number, work):
        reads.append(number)
        return work(number)

    def older(shard, than, limit):
        found = [{"run": run} for run in reversed(ids[shard]) if than is None or run < than][:limit]
        return found, found[-1]["run"] if len(found) == limit else None

    first = [head["run"] for head in islice(merged(read, 3, None, 50, older), 50)]
    assert first == [f"{n:03d}" for n in range(299, 249, -1)]
    assert len(reads) == 3
    rest = [head["run"] for head in merged(read, 3, first[-1], 50, older)]
    assert rest == [f"{n:03d}" for n in range(249, -1, -1)]


def test_a_cursor_is_the_id_that_a_page_ends_before() -> None:
    assert before_of(None) is None
    assert before_of("before:00a1") == "00a1"
    with pytest.raises(InvalidInput):
        before_of("after:00a1")
