"""G3, issue 4 "Done when" 4: limits over a real socket, with worker processes of two runs, time scaled."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT, Server, lives, orchestrator, until

from po_jupyter.errors import InvalidSettings
from po_jupyter.orchestrator.service import Orchestrator
from po_jupyter.testing.model_server import ModelServer, Reply

sys.path.insert(0, str(ROOT / "tests" / "llm"))
from limit_servers import Bucket, Fixed, Sliding  # noqa: E402

WINDOW = 3.0  # s that stand for a minute
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
            requests, tokens, whole = self.counts.left(now)
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
        runs = [(await service.submit(job(name, rows), owner="local"))[0].id for name in ("one", "two")]
        views = [await until(service, run, patience=100) for run in runs]
        for view in views:
            assert view.state == "done", view.error
            assert view.tasks[0].items is not None and view.tasks[0].items.done == rows
        return views


SERVERS = {
    "sliding": lambda: Sliding(REQUESTS, TOKENS, WINDOW),
    "fixed": lambda: Fixed(REQUESTS, TOKENS, WINDOW),
    "bucket": lambda: Bucket(REQUESTS, TOKENS, WINDOW),
}


@pytest.mark.parametrize(("kind", "rows"), [("sliding", 250), ("fixed", 130), ("bucket", 130)])
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
    """G3: nothing is set; the first answers teach it, and it holds for both runs."""
    enforcing = Enforcing(Sliding(REQUESTS, TOKENS, WINDOW), headers=True)
    with ModelServer(enforcing, latency=0.1) as server:
        aim(server)
        await play(tmp_path, 130)
    begun = enforcing.accepted[0][0]
    assert [at for at in enforcing.refused if at > begun + WINDOW] == []
    assert enforcing.rate() >= 0.85, enforcing.rate()


async def test_a_limit_that_only_refusals_tell(tmp_path: Path, aim: Any) -> None:
    """G3: nothing is set and nothing is told but 429 and Retry-After."""
    enforcing = Enforcing(Fixed(REQUESTS, 10**9, WINDOW))
    with ModelServer(enforcing, latency=0.1) as server:
        aim(server)
        await play(tmp_path, 130)
    late = [at for at in enforcing.refused if at > enforcing.accepted[0][0] + 2 * WINDOW]
    assert len(late) <= 0.1 * len(enforcing.accepted), len(late)
    assert enforcing.rate() >= 0.6, enforcing.rate()
