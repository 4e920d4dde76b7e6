"""Servers that enforce limits, as the vendors' documentation says they count: pure, times are passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass
class FixedWindowServer:
    """So many in each window of the clock; the windows begin at `origin`."""

    requests: int
    tokens: int
    window: float
    origin: float = 0.0
    used: list[int] = field(default_factory=lambda: [0, 0])
    index: int = -(10**9)

    def take(self, now: float, tokens: int) -> float | None:
        """None: it is allowed; else seconds to come back after."""
        index = int((now - self.origin) // self.window)
        if index != self.index:
            self.index, self.used = index, [0, 0]
        if self.used[0] + 1 > self.requests or self.used[1] + tokens > self.tokens:
            return self.origin + (index + 1) * self.window - now
        self.used = [self.used[0] + 1, self.used[1] + tokens]
        return None

    def remaining(self, now: float) -> tuple[int, int, float]:
        return self.requests - self.used[0], self.tokens - self.used[1], self.window


@dataclass
class SlidingWindowServer:
    """Never more than so many in any window."""

    requests: int
    tokens: int
    window: float
    log: deque = field(default_factory=deque)

    def take(self, now: float, tokens: int) -> float | None:
        while self.log and self.log[0][0] <= now - self.window:
            self.log.popleft()
        if len(self.log) + 1 > self.requests or sum(t for _, t in self.log) + tokens > self.tokens:
            return self.log[0][0] + self.window - now if self.log else self.window
        self.log.append((now, tokens))
        return None

    def remaining(self, now: float) -> tuple[int, int, float]:
        return self.requests - len(self.log), self.tokens - sum(t for _, t in self.log), self.window


@dataclass
class TokenBucketServer:
    """Buckets that refill evenly. `burst` is their size as a part of what a window allows."""

    requests: int
    tokens: int
    window: float
    burst: float = 1.0
    at: float | None = None
    level: list[float] = field(default_factory=list)

    def _fill(self, now: float) -> None:
        tops = [self.requests * self.burst, self.tokens * self.burst]
        if self.at is None:
            self.level = tops
        else:
            rates = [self.requests / self.window, self.tokens / self.window]
            passed = max(0.0, now - self.at)
            self.level = [min(t, v + passed * r) for t, v, r in zip(tops, self.level, rates, strict=True)]
        self.at = now

    def take(self, now: float, tokens: int) -> float | None:
        self._fill(now)
        missing = [1 - self.level[0], tokens - self.level[1]]
        if max(missing) > 1e-9:
            rates = [self.requests / self.window, self.tokens / self.window]
            return max(m / r for m, r in zip(missing, rates, strict=True))
        self.level = [self.level[0] - 1, self.level[1] - tokens]
        return None

    def remaining(self, now: float) -> tuple[int, int, float]:
        self._fill(now)
        whole = (self.requests * self.burst - self.level[0]) / self.requests * self.window
        return int(self.level[0]), int(self.level[1]), whole
