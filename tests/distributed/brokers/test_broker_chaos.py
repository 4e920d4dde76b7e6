"""A broker that dies again and again: every run is taken at least once, by who looks for those that nobody heard of."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from contextlib import suppress

import psutil
import pytest

from po_jupyter.distributed.brokers.opening import open_queue
from po_jupyter.distributed.brokers.protocol import RunMessage, Verdict
from po_jupyter.errors import BrokerUnavailable
from po_jupyter.testing.conformance.queue import Taken
from tests.support.brokers import BrokerServer, RabbitServer, ValkeyServer, running

pytestmark = [pytest.mark.slow, pytest.mark.integration]
RUNS = 500


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "deaths"), [(ValkeyServer, 20), (RabbitServer, 20)])
def test_each_run_is_taken_though_the_broker_dies(kind: type[BrokerServer], deaths: int) -> None:
    """A publisher, a reaper that publishes again what the store still has, two consumers that give some back."""
    seed = int(os.environ.get("PO_CHAOS_SEED") or random.randrange(2**32))
    print(f"PO_CHAOS_SEED={seed}")
    chance = random.Random(seed)
    runs = [f"run{number}" for number in range(RUNS)]
    over = threading.Event()
    counts: Counter[str] = Counter()
    coins = random.Random(seed + 1)

    def answer(message: RunMessage) -> Verdict:
        return Verdict.BACK if coins.random() < 0.1 else Verdict.TAKEN

    taken = Taken(answer)
    with running(kind) as server:
        queues = [open_queue(server.url, name="chaos", redelivery=2) for _ in range(3)]

        def publish(number: int) -> bool:
            try:
                queues[2].publish(RunMessage(runs[number], number % 10))
            except BrokerUnavailable:
                counts["refused"] += 1
                return False
            return True

        def publish_all() -> None:
            for number in range(RUNS):
                publish(number)
                time.sleep(deaths * 0.6 / RUNS)
            while not over.wait(3):  # the reaper
                for number in [n for n in range(RUNS) if runs[n] not in set(taken.runs)]:
                    if not publish(number):
                        break
                    counts["again"] += 1

        for queue in queues[:2]:
            queue.consume(taken)
        queues[2].ping()
        files = psutil.Process().num_fds()
        publisher = threading.Thread(target=publish_all)
        publisher.start()
        try:
            for _ in range(deaths):
                time.sleep(chance.uniform(0.1, 1.0))
                server.kill() if chance.random() < 0.7 else server.stop()
                time.sleep(chance.uniform(0, 0.5))
                server.start()
            taken.wait_for(*runs, seconds=120)
        finally:
            over.set()
            publisher.join()
        print(counts, len(taken.runs), "taken for", RUNS)
        assert set(taken.runs) == set(runs)
        with suppress(BrokerUnavailable):
            print(queues[0].depths())
        assert psutil.Process().num_fds() <= files + 10  # whoever connects again leaves nothing open
        for queue in queues:
            queue.close()
