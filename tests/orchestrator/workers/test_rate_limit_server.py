"""G3, issue 4 "Done when" 4: limits over a real socket, with worker processes of two runs, time scaled."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidSettings
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.limit_servers import FixedWindowServer, SlidingWindowServer, TokenBucketServer
from tests.support.orchestrator import Server, is_alive, orchestrator, wait_for_state

pytestmark = pytest.mark.integration

WINDOW = 3.5  # s that stand for a minute
REQUESTS, TOKENS = 60, 10_000


class Enforcing:
    """What a ModelServer answers when its limits are real."""

    def __init__(self, counts: Any, *, headers: bool = False, retry_after: bool = True) -> None:
        self.counts, self.headers, self.retry_after = counts, headers, retry_after
        self.accepted: list[tuple[float, str, int]] = []
        self.refused: list[float] = []

    def __call__(self, body: dict[str, Any], n: int) -> Reply:
        now = time.monotonic()
        prompt = body["messages"][-1]["content"]
        given, answered = 60, 40 + n * 37 % 120
        wait = self.counts.take(now, given + answered)
        headers: dict[str, str] = {}
        if self.headers:
            requests, tokens, whole = self.counts.remaining(now)
            for kind, limit, left in (("requests", REQUESTS, requests), ("tokens", TOKENS, tokens)):
                headers |= {
                    f"x-ratelimit-limit-{kind}": str(limit),
                    f"x-ratelimit-remaining-{kind}": str(max(0, left)),
                    f"x-ratelimit-reset-{kind}": f"{whole * 1000:.0f}ms",
                }
        if wait is not None:
            self.refused.append(now)
            if self.retry_after:
                headers["retry-after-ms"] = f"{wait * 1000:.0f}"
            return Reply(status=429, headers=headers, error="Rate limit reached")
        self.accepted.append((now, prompt.split()[0], given + answered))
        usage = {"prompt_tokens": given, "completion_tokens": answered, "total_tokens": given + answered}
        return Reply("fine", usage=usage, headers=headers)

    def rate(self) -> float:
        """The part of the allowed rate that was used, of requests or tokens, whichever more, between the first
        window and the last."""
        since, until = self.accepted[0][0] + WINDOW, self.accepted[-1][0] - WINDOW
        assert until - since > WINDOW
        found = [tokens for at, _, tokens in self.accepted if since <= at < until]
        windows = (until - since) / WINDOW
        return max(len(found) / REQUESTS, sum(found) / TOKENS) / windows


def job(name: str, rows: int, *, width: int = 20, model: str = "openai:gpt-4o-mini") -> dict[str, Any]:
    """A map whose prompts are about 60 tokens long."""
    task = {
        "name": "ask",
        "prompt": f"{name} row {{{{ item }}}} " + "is it so? " * 20,
        "for_each": f"range({rows})",
        "max_concurrency": width,
        "llm": {"model": model, "max_tokens": 300, "retry": {"max_attempts": 10, "max_delay": 0.5}},
    }
    return {"pipeline": {"name": name, "tasks": [task]}, "seed": {"name": "s", "data": {}}}


@pytest.fixture
def aim(monkeypatch: pytest.MonkeyPatch) -> Any:
    def at(server: ModelServer) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", server.key)

    return at


async def play(data_dir: Path, rows: int, **settings: Any) -> list[Any]:
    """Two runs of so many calls each, at the same time; their views at the end."""
    async with orchestrator(data_dir, rate_window=WINDOW, **settings) as service:
        runs = [
            (await service.submissions.submit(job(name, rows), owner="local"))[0].id for name in ("one", "two")
        ]
        views = [await wait_for_state(service, run, patience=100) for run in runs]
        for view in views:
            assert view.state == "done", view.error
            assert view.tasks[0].items is not None and view.tasks[0].items.done == rows
        return views


SERVERS = {
    "sliding": lambda: SlidingWindowServer(REQUESTS, TOKENS, WINDOW),
    "fixed": lambda: FixedWindowServer(REQUESTS, TOKENS, WINDOW),
    "bucket": lambda: TokenBucketServer(REQUESTS, TOKENS, WINDOW),
}


@pytest.mark.parametrize(("kind", "rows"), [("sliding", 250), ("fixed", 110), ("bucket", 110)])
async def test_two_runs_keep_a_limit_and_use_it(tmp_path: Path, aim: Any, kind: str, rows: int) -> None:
    """Done-when 4: no 429, nine tenths of the rate, fair shares."""
    enforcing = Enforcing(SERVERS[kind]())
    with ModelServer(enforcing, latency=0.1) as server:
        aim(server)
        limits = {"openai": {"requests": REQUESTS, "tokens": TOKENS}}
        views = await play(tmp_path, rows, rate_limits=limits)
    assert enforcing.refused == []
    assert enforcing.rate() >= 0.9, enforcing.rate()
    assert len(enforcing.accepted) == 2 * rows
    times = [[at for at, run, _ in enforcing.accepted if run == name] for name in ("one", "two")]
    # While both were at work, and after the first window, in which one of them was there before the other.
    since, until_ = max(t[0] for t in times) + WINDOW, min(t[-1] for t in times)
    shares = Counter(run for at, run, _ in enforcing.accepted if since <= at <= until_)
    assert 0.8 <= shares["one"] / shares["two"] <= 1.25, shares
    for view in views:
        assert view.usage.unknown == 0


async def test_a_limit_that_only_headers_tell(tmp_path: Path, aim: Any) -> None:
    """G3: nothing is set; the first answers teach it, and it holds for both runs.

    A few calls test whether the server means what it says, so a few are refused.
    """
    enforcing = Enforcing(SlidingWindowServer(REQUESTS, TOKENS, WINDOW), headers=True)
    with ModelServer(enforcing, latency=0.1) as server:
        aim(server)
        await play(tmp_path, 110)
    begun = enforcing.accepted[0][0]
    late = [at for at in enforcing.refused if at > begun + WINDOW]
    assert len(late) <= 8, len(late)
    assert enforcing.rate() >= 0.85, enforcing.rate()


async def test_a_limit_that_only_refusals_tell(tmp_path: Path, aim: Any) -> None:
    """G3: nothing is set and nothing is told but 429 and Retry-After.

    The end of a window is found by asking: waiting longer than it takes would be slower than plain backoff is.
    """
    enforcing = Enforcing(FixedWindowServer(REQUESTS, 10**9, WINDOW))
    with ModelServer(enforcing, latency=0.1) as server:
        aim(server)
        await play(tmp_path, 160)
    late = [at for at in enforcing.refused if at > enforcing.accepted[0][0] + 2 * WINDOW]
    assert len(late) <= 0.25 * len(enforcing.accepted), len(late)
    assert enforcing.rate() >= 0.6, enforcing.rate()


LIMITS = {"openai:gpt-4o-mini": {"requests": 2}}


async def waiting(service: RunningOrchestrator, run: str, patience: float = 20.0) -> str:
    """What the run's only task waits for, once it says so."""
    async with service.changes.subscribe(run) as notes, asyncio.timeout(patience):
        while not (text := (await service.runs.get(run, None)).tasks[0].waiting):
            await notes.get(0.5)
    return text


async def calls_of(service: RunningOrchestrator, run: str) -> Counter[str]:
    found, _ = await service.results.calls(run, None, limit=1000)
    return Counter(f"{call['kind']} {call['state']}" for call in found)


async def test_a_wait_is_visible_and_not_the_stage_s_time(tmp_path: Path, aim: Any) -> None:
    """P7, R2.2: "waiting 3 s for openai:gpt-4o-mini (requests per 4 s)", with a stage timeout of 1 s."""
    wanted = job("one", 5)
    wanted["pipeline"]["tasks"][0]["timeout"] = 1.0
    with ModelServer("fine") as server:
        aim(server)
        async with orchestrator(tmp_path, rate_limits=LIMITS, rate_window=4.0) as service:
            run = (await service.submissions.submit(wanted, owner="local"))[0].id
            text = await waiting(service, run)
            assert text.startswith("waiting") and text.endswith("s for openai:gpt-4o-mini (requests per 4 s)")
            view = await wait_for_state(service, run)
            assert view.state == "done" and view.tasks[0].items.failed == 0
            assert view.tasks[0].waiting is None
            assert await calls_of(service, run) == {"intent answered": 5, "response done": 5}


async def test_a_cancel_ends_a_wait_and_nothing_was_sent(tmp_path: Path, aim: Any) -> None:
    """P3, P12: the calls that waited leave no intent; what is finished is kept."""
    with ModelServer("fine") as server:
        aim(server)
        async with orchestrator(tmp_path, rate_limits=LIMITS, rate_window=600) as service:
            run = (await service.submissions.submit(job("one", 10), owner="local"))[0].id
            await waiting(service, run)
            begun = time.monotonic()
            await service.control.cancel(run, None)
            view = await wait_for_state(service, run)
            assert time.monotonic() - begun < 3 and view.state == "cancelled"
            assert await calls_of(service, run) == {"intent answered": 2, "response done": 2}
            assert view.usage.unknown == 0 and len(server.requests) == 2


async def test_a_drain_ends_a_wait_and_the_next_server_goes_on(tmp_path: Path, aim: Any) -> None:
    """R3.3, P3: no unknown outcome, and no orphan that waits."""
    with ModelServer("fine") as server:
        aim(server)
        async with orchestrator(tmp_path, rate_limits=LIMITS, rate_window=600, shutdown_timeout=10) as service:
            run = (await service.submissions.submit(job("one", 10), owner="local"))[0].id
            await waiting(service, run)
            begun = time.monotonic()
        assert time.monotonic() - begun < 5
        async with orchestrator(tmp_path) as service:
            view = await wait_for_state(service, run)
            assert view.state == "done" and view.usage.unknown == 0
            assert await calls_of(service, run) == {"intent answered": 10, "response done": 10}
        assert server.duplicates() == {}


async def test_a_worker_that_dies_gives_its_place_back(tmp_path: Path, aim: Any) -> None:
    """G3: the one place there is is held by a call of a worker that is killed; another run gets it."""
    with ModelServer("fine") as server:
        aim(server)
        server.hold()
        limits = {"openai": {"concurrency": 1}}
        async with orchestrator(tmp_path, rate_limits=limits, max_crashes=1) as service:
            first = (await service.submissions.submit(job("one", 1), owner="local"))[0].id
            await asyncio.to_thread(server.wait_for, 1)
            second = (await service.submissions.submit(job("two", 1), owner="local"))[0].id
            assert "1 call in flight" in await waiting(service, second)
            worker = service.dispatcher.active.supervisor.processes.by_run[first]
            service.dispatcher.active.supervisor.processes.kill(worker, "a test")
            await asyncio.to_thread(server.wait_for, 2)
            server.release()
            assert (await wait_for_state(service, second)).state == "done"
            assert (await wait_for_state(service, first)).state == "dead"


async def test_a_new_orchestrator_knows_what_is_under_way(tmp_path: Path, aim: Any) -> None:
    """G3: the server is killed while a call holds the only place; the next one does not give it away."""
    with ModelServer("fine") as server:
        aim(server)
        server.hold()
        limits = {"openai": {"concurrency": 1}}
        old = await asyncio.to_thread(Server, tmp_path, rate_limits=limits)
        run = await asyncio.to_thread(old.submit, job("one", 3))
        await asyncio.to_thread(server.wait_for, 1)
        await asyncio.to_thread(old.kill)
        async with orchestrator(tmp_path, rate_limits=limits) as service:
            worker = (await service.runs.get(run, None)).id
            async with asyncio.timeout(10):
                while (
                    not (known := service.dispatcher.active.supervisor.processes.get(worker))
                    or known.channel is None
                ):
                    await asyncio.sleep(0.05)
            assert is_alive(known.pid)
            await asyncio.sleep(1.0)  # in which nothing may happen
            assert len(server.requests) == 1
            server.release()
            view = await wait_for_state(service, run)
            assert view.state == "done" and view.usage.unknown == 0
        assert len(server.requests) == 3


async def test_a_prompt_that_never_fits_fails_its_row_alone(tmp_path: Path, aim: Any) -> None:
    """P11: a clear error at once, and the other rows are done."""
    wanted = job("one", 3)
    wanted["pipeline"]["tasks"][0]["prompt"] = "{{ 'word ' * 5000 if item == 1 else 'short' }} {{ item }}"
    with ModelServer("fine") as server:
        aim(server)
        async with orchestrator(tmp_path, rate_limits={"openai": {"tokens": 1000}}) as service:
            run = (await service.submissions.submit(wanted, owner="local"))[0].id
            view = await wait_for_state(service, run)
            assert view.state == "done" and view.tasks[0].items.failed == 1
            (row,) = [row for row in (await service.results.outputs(run, None))["ask"] if not row["ok"]]
            assert "larger than openai allows at all: 1,000 tokens per minute" in row["error"]["message"]
        assert len(server.requests) == 2


async def test_a_provider_that_there_is_not(tmp_path: Path) -> None:
    """P11: said at the start, with a suggestion; nothing is started."""
    with pytest.raises(InvalidSettings, match="no provider 'opanai'; did you mean `openai`") as caught:
        async with orchestrator(tmp_path, rate_limits={"opanai": {"requests": 5}, "gemini:": {"tokens": 1}}):
            pass
    assert "rate_limits.gemini:: a model is written `gemini:NAME`" in str(caught.value)
