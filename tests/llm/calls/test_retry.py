"""One retry layer for calls, each attempt told (P7)."""

import pytest

from po_jupyter.errors import ModelRateLimited, ModelRefused, ModelUnavailable
from po_jupyter.llm.calls.retry import backoff_delay, retry_delay, with_retry
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.compatible.chat_completions import ChatCompletions
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.http import Http
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.testing.model_server import ModelServer, Reply

QUICK = CallRetry(max_attempts=3, initial_delay=0.001, max_delay=0.002)


def failing(*errors):
    left = list(errors)

    async def call():
        if left:
            raise left.pop(0)
        return "done"

    return call


async def test_transient_errors_are_tried_again_and_each_wait_is_told():
    waits = []
    call = failing(ModelUnavailable("one"), ModelRateLimited("two", retry_after=0.01))
    assert await with_retry(call, QUICK, on_wait=lambda n, d, e: waits.append((n, d, e.code))) == "done"
    assert [(n, code) for n, _, code in waits] == [(1, "model_unavailable"), (2, "model_rate_limited")]
    assert waits[1][1] >= 0.01


async def test_permanent_errors_are_not():
    waits = []
    with pytest.raises(ModelRefused) as caught:
        await with_retry(failing(ModelRefused("no")), QUICK, on_wait=lambda *a: waits.append(a))
    assert waits == [] and caught.value.details["attempts"] == 1


async def test_the_last_error_comes_out_when_the_attempts_are_spent():
    call = failing(*(ModelUnavailable(str(i)) for i in range(9)))
    with pytest.raises(ModelUnavailable, match="2") as caught:
        await with_retry(call, QUICK)
    assert caught.value.details["attempts"] == 3


@pytest.mark.parametrize("attempts", [1, 4])
@pytest.mark.integration
async def test_one_call_makes_at_most_max_attempts_requests_counted_at_the_server(attempts):
    http = Http()
    with ModelServer(Reply(status=503)) as server:
        provider = ChatCompletions(ProviderEndpoint(server.base_url, "k"), http)
        request = ChatRequest("openai:m", (Message("user", "x"),))
        retry = CallRetry(max_attempts=attempts, initial_delay=0, max_delay=0)
        with pytest.raises(ModelUnavailable):
            await with_retry(lambda: provider.chat(request), retry)
        assert len(server.requests) == attempts
    await http.aclose()


def test_delays_grow_with_full_jitter_and_honour_the_server_up_to_the_cap():
    retry = CallRetry(initial_delay=1, multiplier=2, max_delay=5)
    drawn = [[retry_delay(n, retry) for _ in range(300)] for n in (1, 2, 3, 9)]
    assert [max(d) <= limit for d, limit in zip(drawn, (1, 2, 4, 5), strict=True)] == [True] * 4
    assert all(min(d) < 0.2 * limit for d, limit in zip(drawn, (1, 2, 4, 5), strict=True))
    assert 20 <= retry_delay(1, retry, 20) <= 22
    assert 60 <= retry_delay(1, retry, 3600) <= 66
    assert 3 <= retry_delay(1, retry, 3600, cap=3) <= 3.3


def test_tasks_and_calls_wait_by_one_formula(monkeypatch):
    monkeypatch.setattr("po_jupyter.llm.calls.retry.random.uniform", lambda low, high: high)
    retry = CallRetry(initial_delay=1, multiplier=3, max_delay=7)
    assert [backoff_delay(n, retry) for n in (1, 2, 3)] == [1, 3, 7]
    assert [retry_delay(n, retry) for n in (1, 2, 3)] == [1, 3, 7]


async def test_a_next_try_that_goes_another_way_does_not_wait():
    waits = []
    call = failing(ModelUnavailable("wrong API", at_once=True))
    slow = CallRetry(initial_delay=60, max_delay=60)
    assert await with_retry(call, slow, on_wait=lambda n, d, e: waits.append(d)) == "done"
    assert waits == [0.0]
