from __future__ import annotations

from po_jupyter.llm.rate_limits.provider_queue import ProviderQueue


def test_a_run_that_comes_anew_starts_level_with_the_others() -> None:
    queue = ProviderQueue()
    queue.add("a")
    queue.served["a"] = 3.0
    queue.add("b")
    assert queue.served["b"] == 3.0
    queue.remove("b")
    assert set(queue.served) == {"a"}
