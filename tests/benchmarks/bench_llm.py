"""Fan-out to a model server: how far from the ideal, and how much CPU a call takes.

2,000 calls at 100 and at 400 in flight against a server (in a process of its own) that answers after 50 ms. The
ideal is 2000 x 0.05 / width seconds. Ours goes the whole way: journal (in memory), retries, price, usage. In
the same run against the same server, each in a process of its own: plain httpx, the official OpenAI SDK and
litellm. Install them with the extra `bench`; where one is absent its row says so.

    python tests/benchmarks/bench_llm.py
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from po_jupyter.llm.calls.journal import MemoryJournal
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.testing.model_server import ModelServer

CALLS = 2000
LATENCY = 0.05
AIMS = {100: 1.6, 400: 5.0}
CPU_AIM = 1.0  # ms a call, journal and usage included

Call = Callable[[int], Awaitable[object]]


async def fan_out(call: Call, width: int, calls: int = CALLS) -> tuple[float, float]:
    """(seconds, ms of CPU a call) for `calls` calls with `width` of them in flight."""
    left = iter(range(calls))

    async def worker() -> None:
        for i in left:
            await call(i)

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(width)))
    return time.perf_counter() - wall, (time.process_time() - cpu) / calls * 1000


async def ours(url: str, width: int) -> tuple[float, float]:
    """A journaled call of `openai:` for each row."""
    providers = Providers({"OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": url})
    chat = JournaledChat(providers.get, MemoryJournal())

    async def call(i: int) -> None:
        request = ChatRequest("openai:gpt-4o-mini", (Message("user", f"Label row {i}"),), max_tokens=50)
        response = await chat.scope("label", item=i).chat(request)
        assert response.usage.cost

    try:
        await call(-1)  # imports, certificate store, price list
        return await fan_out(call, width)
    finally:
        await providers.aclose()


async def plain_httpx(url: str, width: int) -> tuple[float, float]:
    """What one writes first: `httpx.AsyncClient` with wide limits."""
    import httpx

    limits = httpx.Limits(max_connections=1000, max_keepalive_connections=1000)
    async with httpx.AsyncClient(limits=limits, timeout=120, trust_env=False) as client:

        async def call(i: int) -> None:
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"Label row {i}"}]}
            answer = await client.post(url + "/chat/completions", json=body)
            json.loads(answer.content)["choices"]

        return await fan_out(call, width)


async def openai_sdk(url: str, width: int) -> tuple[float, float]:
    """The vendor's own client, defaults but for the base URL."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key="test-key", base_url=url, timeout=120) as client:

        async def call(i: int) -> None:
            messages: Any = [{"role": "user", "content": f"Label row {i}"}]
            await client.chat.completions.create(model="gpt-4o-mini", messages=messages)

        return await fan_out(call, width)


async def litellm(url: str, width: int) -> tuple[float, float]:
    """`litellm.acompletion`, defaults but for the base URL: it counts usage and cost as we do."""
    import litellm as library

    async def call(i: int) -> None:
        messages = [{"role": "user", "content": f"Label row {i}"}]
        await library.acompletion(
            model="openai/gpt-4o-mini", messages=messages, api_base=url, api_key="test-key", timeout=120
        )

    await call(-1)  # what it imports with its first call
    return await fan_out(call, width)


PEERS: dict[str, tuple[str, str, Callable[[str, int], Coroutine[Any, Any, tuple[float, float]]]]] = {
    "httpx": ("plain httpx", "httpx", plain_httpx),
    "openai": ("openai SDK", "openai", openai_sdk),
    "litellm": ("litellm", "litellm", litellm),
}


def peer(name: str, url: str, width: int) -> tuple[float | None, str]:
    """(seconds or None, a note) of a peer, run by this Python in a process of its own."""
    module = PEERS[name][1]
    if find_spec(module) is None:
        return None, "not installed (pip install the extra `bench`)"
    # litellm would fetch its price list from the network at the import.
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    child = subprocess.run(
        [sys.executable, __file__, "--peer", name, url, str(width)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if child.returncode:
        return None, f"failed: {(child.stderr.strip().splitlines() or ['?'])[-1][:100]}"
    seconds, cpu = json.loads(child.stdout.splitlines()[-1])
    return seconds, f"{cpu:.2f} ms CPU a call, {module} {version(module)}"


def main(*, peers: bool = True) -> list[dict[str, Any]]:
    """Rows of `{name, value, unit, aim, note}`; `aim` None for what is only compared with."""
    rows: list[dict[str, Any]] = []

    def row(name: str, value: float | None, unit: str, aim: float | None, note: str = "") -> None:
        rows.append(
            {
                "name": name,
                "value": None if value is None else round(value, 3),
                "unit": unit,
                "aim": f"<= {aim:g}" if aim else None,
                "note": note,
            }
        )

    with ModelServer(latency=LATENCY, process=True) as server:
        for width, aim in AIMS.items():
            ideal = CALLS * LATENCY / width
            seconds, cpu = asyncio.run(ours(server.base_url, width))
            row(
                f"fan-out {width} in flight",
                seconds / ideal,
                "x ideal",
                aim,
                f"{seconds:.2f} s of {ideal:.2f} s",
            )
            row(f"CPU of a call, {width} in flight", cpu, "ms", CPU_AIM)
        for name, (label, _, _) in PEERS.items() if peers else ():
            for width in AIMS:
                ideal = CALLS * LATENCY / width
                took, note = peer(name, server.base_url, width)
                ratio = None if took is None else took / ideal
                row(f"{label}, {width} in flight", ratio, "x ideal", None, note)
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        which, address, in_flight = sys.argv[2:]
        print(json.dumps(asyncio.run(PEERS[which][2](address, int(in_flight)))))
        sys.exit(0)
    for found in main(peers="--no-peers" not in sys.argv):
        print(f"{found['name']:34} {found['value']:8} {found['unit']:8} aim {found['aim']}  {found['note']}")
