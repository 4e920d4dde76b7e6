"""The cache of calls in the database: for all who share it, in bounds, and in nobody's way."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest
from structlog.testing import capture_logs

from po_jupyter.errors import StoreUnusable
from po_jupyter.store.postgres import answers as module
from po_jupyter.store.postgres.answers import PostgresAnswers
from po_jupyter.store.postgres.store import PostgresStore
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.integration


@pytest.fixture
def cache(place: str) -> Iterator[PostgresAnswers]:
    PostgresStore(place).close()
    cache = PostgresAnswers(place, max_bytes=10_000)
    yield cache
    cache.close()


def test_what_one_machine_keeps_another_finds(cache: PostgresAnswers, place: str) -> None:
    cache.keep([("o/a/0", {"text": "yes"}), ("o/b/0", {"text": "no"})])
    other = PostgresAnswers(place, max_bytes=10_000)
    assert other.find(["o/a/0", "o/c/0"]) == {"o/a/0": {"text": "yes"}}
    other.keep([("o/a/0", {"text": "later"})])
    assert cache.find(["o/a/0"]) == {"o/a/0": {"text": "later"}}
    assert other.measure("o/")[0] == 2
    assert other.clear("o/a") == 1
    assert cache.find(["o/a/0", "o/b/0"]) == {"o/b/0": {"text": "no"}}
    other.close()


def test_the_oldest_go_when_there_are_too_many_and_one_that_is_too_large_is_not_kept(
    cache: PostgresAnswers,
) -> None:
    cache.keep([("large", {"text": "".join(map(str, range(5000)))})])
    assert cache.measure() == (0, 0)
    for number in range(40):
        cache.keep([(f"k{number:02}", {"text": "".join(map(str, range(number, number + 400)))})])
    before = cache.measure()
    cache.prepare()
    count, size = cache.measure()
    assert before[1] > 10_000 >= size
    assert 0 < count < before[0] == 40
    assert cache.find(["k39", "k00"]).keys() == {"k39"}


def test_what_is_too_old_is_not_found_and_goes(
    place: str, cache: PostgresAnswers, server: PostgresServer
) -> None:
    cache.keep([("old", {"text": "x"}), ("new", {"text": "x"})])
    schema = place.rpartition("schema=")[2]
    server.execute(f"""UPDATE "{schema}".answers SET at = now() - interval '2 days' WHERE key = 'old'""")
    young = PostgresAnswers(place, max_bytes=10_000, days=1)
    assert young.find(["old", "new"]).keys() == {"new"}
    young.prepare()
    young.close()
    assert cache.find(["old", "new"]).keys() == {"new"}


def test_a_database_that_is_slow_or_away_knows_nothing_and_is_left_alone_for_a_while(
    place: str, cache: PostgresAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.keep([("a", {"text": "x"})])
    cache.close()
    monkeypatch.setattr(module, "_STATEMENT", 100)
    monkeypatch.setattr(module, "_PAUSE", 0.5)
    schema = place.rpartition("schema=")[2]
    url = place.replace(f"&schema={schema}", "")
    with psycopg.connect(url) as other, capture_logs() as logs:
        other.execute(f'LOCK TABLE "{schema}".answers')
        assert cache.find(["a"]) == {}
        began = time.monotonic()
        assert cache.find(["a"]) == {}
        cache.keep([("b", {"text": "y"})])
        assert time.monotonic() - began < 0.09  # not asked
        time.sleep(0.5)
        assert cache.find(["a"]) == {}
    assert [line["event"] for line in logs] == ["answers of models are not cached"]
    time.sleep(0.5)
    assert cache.find(["a"]) == {"a": {"text": "x"}}


def test_whoever_wants_answers_gone_hears_that_they_are_not(place: str, cache: PostgresAnswers) -> None:
    """Not so a worker, for which a cache is never an error."""
    url = place.replace("postgres?", "no_such_database?")
    away = PostgresAnswers(url, max_bytes=10_000)
    assert away.find(["a"]) == {}
    for maintain in (away.clear, away.measure):
        with pytest.raises(StoreUnusable, match="no_such_database"):
            maintain("o/")
    away.prepare()


def test_a_pause_of_the_workers_is_none_of_whoever_clears(
    cache: PostgresAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.keep([("o/a/0", {"text": "yes"})])
    monkeypatch.setattr(cache, "_pause_until", time.monotonic() + 60)
    assert cache.clear("o/") == 1
