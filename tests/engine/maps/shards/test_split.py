from __future__ import annotations

from po_jupyter.engine.maps.shards.split import shard_count, split


def test_rows_are_split_into_neighbours_of_even_size() -> None:
    assert split(range(7), 3) == [range(3), range(3, 5), range(5, 7)]
    assert split([1, 4, 9], 3) == [[1], [4], [9]]
    for rows in range(30):
        for parts in range(1, rows + 1):
            pieces = split(range(rows), parts)
            assert [row for piece in pieces for row in piece] == list(range(rows))
            assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


def test_auto_shares_out_large_maps_alone() -> None:
    assert [shard_count("auto", rows) for rows in (0, 5_000, 5_001, 50_000)] == [0, 1, 2, 8]
    assert [shard_count(4, rows) for rows in (0, 1, 3, 50_000)] == [0, 1, 3, 4]
    assert shard_count(None, 50_000) == 1
