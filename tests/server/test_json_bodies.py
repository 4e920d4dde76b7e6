"""Bodies of requests: what is refused, and who waits meanwhile (P9, P11)."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, RateLimited
from po_jupyter.server import json_bodies as bodies

LARGE = "x" * bodies.LARGE


@pytest.mark.parametrize("filler", ["", LARGE])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"f": "%s", "a": NaN}', "NaN"),
        (b'{"f": "%s", "a": }', "not JSON"),
        (b'{"f": "%s", "a": {"b": 1, "b": 2}}', "`b` stands twice in one object"),
        (b'["%s"]', "must be a JSON object"),
        (b'{"f": "%s", "a": "\\ud83d"}', "not JSON"),
        (b'{"f": "%s", "a": "\\ude00"}', "not JSON"),
        (b'{"f": "%s", "a": "\\ud83d\\ud83d\\ude00"}', "not JSON"),
        (b'{"f": "%s", "\\uDE00\\uD83D": 1}', "not JSON"),
        (b'{"f": "%s", "a": ' + b"[" * 200_000, "nested too deeply"),
    ],
)
async def test_what_is_no_body_gets_one_clear_error(text: bytes, words: str, filler: str) -> None:
    """P11, whatever its size."""
    with pytest.raises(InvalidInput, match=words):
        await bodies.read(text % filler.encode())


@pytest.mark.parametrize("filler", ["", LARGE])
async def test_whole_pairs_and_escaped_backslashes_are_text(filler: str) -> None:
    for value in ("😀", "\\ud83d", "a\\\\ude00😀", "é"):
        text = json.dumps({"f": filler, "a": value}).encode()
        assert (await bodies.read(text))["a"] == value
    assert await bodies.read(b"  ") == {}


async def longest_gap(work: Any) -> tuple[float, float]:
    """(seconds of `work`, the longest time in which the loop did nothing else)."""
    gap = 0.0

    async def tick() -> None:
        nonlocal gap
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            gap = max(gap, time.perf_counter() - before)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    gap, before = 0.0, time.perf_counter()
    await work()
    seconds = time.perf_counter() - before
    await asyncio.sleep(0)
    ticking.cancel()
    return seconds, gap


@pytest.mark.integration
async def test_the_loop_goes_on_while_a_large_body_is_read_and_an_answer_written() -> None:
    """P9: a thread alone would not do, Python's reader does not let others in."""
    rows = [{"id": i, "text": "some text of a row " * 5, "n": i * 1.5} for i in range(100_000)]
    text = json.dumps({"seed": {"data": {"rows": rows}}}).encode()
    best = {"read": 1.0, "write": 1.0}
    for _ in range(5):  # others may have the processor for a while
        for name, work in (
            ("read", lambda: bodies.read(text)),
            ("write", lambda: bodies.write({"seed": {"data": {"rows": rows}}})),
        ):
            seconds, gap = await longest_gap(work)
            best[name] = min(best[name], gap / seconds)
    assert best["read"] < 0.4, best
    assert best["write"] < 0.4, best


async def test_a_body_of_very_many_brackets_is_refused_before_it_is_read() -> None:
    """Each is three bytes there, and hundreds in memory."""
    with pytest.raises(InvalidInput, match="objects and lists"):
        await bodies.read(b'{"a": [' + b"{}," * 3_000_000 + b"1]}")


def test_what_one_sends_at_once_is_bounded_and_others_are_not_in_its_way() -> None:
    memory = bodies.BodyMemory(10)
    memory.hold("reader", 8)
    with pytest.raises(RateLimited, match="at once") as refused:
        memory.hold("reader", 3)
    assert refused.value.retry_after
    memory.hold("owner", 10)
    memory.release("reader", 8)
    memory.hold("reader", 10)
