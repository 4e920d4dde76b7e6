from __future__ import annotations

import random

from po_jupyter.engine.maps.shards.split import shard_count, split, split_alike


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


def test_equal_keys_are_in_one_part() -> None:
    assert split_alike("abcdefg", 3) == [[0, 1, 2], [3, 4], [5, 6]], "as in `split`"
    assert split_alike("abcabcabcabc", 3) == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    assert split_alike("abcda", 2) == [[0, 1, 4], [2, 3]]
    assert split_alike("aa", 2) == [[0, 1]]


def test_what_is_all_alike_is_work_for_several() -> None:
    assert split_alike("a" * 9, 3) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_no_part_is_much_larger_than_an_even_one() -> None:
    rng = random.Random(5)
    for _ in range(500):
        keys = [str(rng.randrange(rng.choice((1, 3, 10, 50)))) for _ in range(rng.randint(1, 60))]
        parts = rng.randint(1, len(keys))
        pieces = split_alike(keys, parts)
        assert sorted(row for piece in pieces for row in piece) == list(range(len(keys)))
        assert len(pieces) <= parts
        assert max(map(len, pieces)) <= 3 * -(-len(keys) // parts)
