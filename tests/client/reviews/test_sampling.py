"""Samples: the same rows for the same seed, a smaller one within a larger one."""

from po_jupyter.client.reviews.sampling import sample_of


def test_a_sample_is_decided_by_its_seed() -> None:
    rows = range(1000)
    first = sample_of(rows, 50, 0)
    assert first == sorted(first) == sample_of(reversed(rows), 50, 0)
    assert len(set(first)) == 50
    assert sample_of(rows, 50, 1) != first
    assert set(first) < set(sample_of(rows, 51, 0))
    assert sample_of(rows, 5000, 0) == sample_of(rows, None, 0) == list(rows)


def test_the_rows_of_a_sample_stay_in_it_as_far_as_there_is_room() -> None:
    """A run at work has more rows each time: what was reviewed is not all displaced."""
    early, later = sample_of(range(100), 50, 0), sample_of(range(120), 50, 0)
    assert len(set(early) & set(later)) > 35


def test_it_is_spread_over_the_rows() -> None:
    sample = sample_of(range(10_000), 1000, 7)
    for start in range(0, 10_000, 1000):
        assert 60 < sum(start <= index < start + 1000 for index in sample) < 140
