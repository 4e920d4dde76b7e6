"""A little of `python -m tests.distributed.chaos`: whatever dies, each run is done once, and right."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.distributed.chaos.monkey import play

pytestmark = pytest.mark.integration


@pytest.mark.timeout(240)
@pytest.mark.parametrize("broker", ["store", "valkey"])
def test_a_few_kills_lose_nothing_and_pay_nothing_twice(tmp_path: Path, broker: str) -> None:
    seed = int(os.environ.get("PO_CHAOS_SEED") or random.randrange(2**32))
    print(f"PO_CHAOS_SEED={seed}")
    report = play(tmp_path, broker, 5, random.Random(seed))
    print(report.to_json())
    # How late a run is taken over is measured by the long one: beside other tests the machine has no time for it.
    assert not [problem for problem in report.problems if "was taken over" not in problem], report.to_json()
    assert report.kills.total() == 5
    assert report.runs > 5


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("broker", ["store", "valkey", "rabbitmq", "sqs"])
def test_fifty_kills_over_each_broker(tmp_path: Path, broker: str) -> None:
    report = play(tmp_path, broker, 50, random.Random(int(os.environ.get("PO_CHAOS_SEED") or 1)))
    print(report.to_json())
    assert not report.problems, report.to_json()
