"""What the gateway adds to a call: time at the median, CPU, and how soon a stream's pieces come.

2,000 calls at 1 and at 100 in flight to a server (in a process of its own) that answers at once, straight and through
the gateway (in a process of its own, with its ledger on this disk and limits of every kind); then through LiteLLM's
proxy where it is installed (`pip install 'litellm[proxy]'`), else through the plainest reverse proxy that aiohttp
makes, which counts nothing and keeps nothing: what HTTP through Python costs at least.

A server that answers at once has 100 in flight only while a core is full, of the server's, the gateway's or the load's:
the time of a call is then a queue's. So the same is asked of a server that takes a second as well, as models do: 100 in
flight are 100 calls a second, and what is added is the gateway's own.

    python -m tests.benchmarks gateway
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from po_jupyter.testing.model_server import ModelServer

CALLS = 2000
SECOND = 1.0  # s, of the server that takes its time
BODY = {"model": "gpt-5-mini", "max_tokens": 50, "messages": [{"role": "user", "content": "Label this row"}]}
_CONFIG = """
providers:
  openai: {{base_url: "{url}", key_env: BENCH_KEY, concurrency: 200, calls_per_minute: 1000000}}
  slow: {{wire: chat, base_url: "{slow}", key_env: BENCH_KEY, concurrency: 200, calls_per_minute: 1000000}}
models: ["openai:gpt-5-mini", "slow:gpt-5-mini"]
prices: {{"openai:gpt-5-mini": {{input: 0.25, output: 2}}, "slow:gpt-5-mini": {{input: 0.25, output: 2}}}}
limits:
  all: {{usd_per_month: 100000, concurrency: 200}}
  each_user: {{usd_per_day: 10000, tokens_per_day: 1000000000, calls_per_minute: 1000000}}
"""
_PLAIN = """
import asyncio, json, sys
import aiohttp
from aiohttp import web

async def main(url):
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def handle(request):
        body = await request.read()
        headers = {"Authorization": "Bearer key", "Content-Type": "application/json"}
        async with session.post(url + "/chat/completions", data=body, headers=headers) as response:
            return web.Response(body=await response.read(), status=response.status, content_type="application/json")

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"url": f"http://127.0.0.1:{runner.addresses[0][1]}"}), flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"""


@contextmanager
def program(command: list[str], **environ: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server in a process of its own: its address, which it prints as JSON, and the process."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environ})
    assert child.stdout is not None
    try:
        for line in child.stdout:
            if line.startswith("{"):
                yield json.loads(line)["url"], psutil.Process(child.pid)
                return
        raise RuntimeError(f"{command[:4]} did not start")
    finally:
        child.terminate()
        child.wait(30)
        child.stdout.close()


async def fan_out(url: str, token: str, width: int, calls: int = CALLS) -> list[float]:
    """The seconds of each call, with `width` of them in flight."""
    took: list[float] = []
    left = iter(range(calls))
    headers = {"Authorization": f"Bearer {token}"}
    data = json.dumps(BODY).encode()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def worker() -> None:
            for _ in left:
                begin = time.perf_counter()
                async with session.post(f"{url}/chat/completions", data=data, headers=headers) as response:
                    await response.read()
                    assert response.status == 200, await response.text()
                took.append(time.perf_counter() - begin)

        await asyncio.gather(*(worker() for _ in range(width)))
    return took


async def first_piece(url: str, token: str) -> float:
    """Seconds until the first piece of a stream that ends much later."""
    async with aiohttp.ClientSession() as session:
        begin = time.perf_counter()
        async with session.post(
            f"{url}/chat/completions",
            json={**BODY, "stream": True},
            headers={"Authorization": f"Bearer {token}"},
        ) as response:
            await response.content.readany()
            return time.perf_counter() - begin


def measured(url: str, token: str, process: psutil.Process) -> dict[str, float]:
    """Medians (ms) at 1 and at 100 in flight, and the CPU of a call (ms) at 100."""
    asyncio.run(fan_out(url, token, 20, 200))
    alone = statistics.median(asyncio.run(fan_out(url, token, 1, 500))) * 1000
    before = process.cpu_times()
    many = asyncio.run(fan_out(url, token, 100))
    after = process.cpu_times()
    cpu = (after.user + after.system - before.user - before.system) / len(many) * 1000
    return {"alone": alone, "p50": statistics.median(many) * 1000, "cpu": cpu}


def slowly(url: str, token: str) -> float:
    """The median (ms) of a call at 100 in flight to a server that takes a second."""
    asyncio.run(fan_out(url, token, 100, 100))
    return statistics.median(asyncio.run(fan_out(url, token, 100, 1000))) * 1000


def litellm_rows(url: str, slow: str, straight: float, slow_straight: float) -> list[dict[str, Any]]:
    """LiteLLM's proxy, where it is installed; else a plain proxy."""
    if find_spec("litellm") is None or find_spec("litellm.proxy") is None or find_spec("fastapi") is None:
        note = "aiohttp's plainest reverse proxy: no accounts, no ledger. LiteLLM's proxy is not installed here"
        with program([sys.executable, "-c", _PLAIN, url]) as (place, process):
            found = measured(place, "any", process)
        with program([sys.executable, "-c", _PLAIN, slow]) as (place, _):
            patient = slowly(place, "any")
        name = "plain proxy"
    else:
        note, name = "LiteLLM's proxy with one model and no database", "LiteLLM"
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.yaml"
            command = [sys.executable, "-c", _LITELLM, str(config)]
            for address in (slow, url):
                parameters = f'{{model: "openai/gpt-5-mini", api_base: "{address}", api_key: key}}'
                config.write_text(f"model_list: [{{model_name: gpt-5-mini, litellm_params: {parameters}}}]\n")
                with program(command, LITELLM_LOG="ERROR") as (place, process):
                    if address == slow:
                        patient = slowly(place, "any")
                    else:
                        found = measured(place, "any", process)
    return [
        {
            "name": f"{name}: added at 1 in flight, p50",
            "value": found["alone"] - straight,
            "unit": "ms",
            "note": note,
        },
        {"name": f"{name}: CPU a call at 100 in flight", "value": found["cpu"], "unit": "ms"},
        {"name": f"{name}: a call at 100 in flight, p50", "value": found["p50"], "unit": "ms"},
        {
            "name": f"{name}: added at 100 in flight to a server that takes 1 s, p50",
            "value": patient - slow_straight,
            "unit": "ms",
        },
    ]


_LITELLM = """
import json, socket, sys
import uvicorn
from litellm.proxy.proxy_server import app, initialize
import asyncio

async def main():
    await initialize(config=sys.argv[1])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)
    await server.serve()

asyncio.run(main())
"""


def main() -> list[dict[str, Any]]:
    """The rows of the benchmark."""
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        ModelServer(process=True) as server,
        ModelServer(process=True, latency=SECOND) as slow,
    ):
        config, tokens = Path(folder) / "limits.yaml", Path(folder) / "tokens.json"
        config.write_text(_CONFIG.format(url=server.base_url, slow=slow.base_url))
        tokens.write_text(json.dumps({"bench-token": {"name": "bench", "groups": ["a"]}}))
        straight = statistics.median(asyncio.run(fan_out(server.base_url, "any", 1, 500))) * 1000
        crowded = statistics.median(asyncio.run(fan_out(server.base_url, "any", 100))) * 1000
        slow_straight = slowly(slow.base_url, "any")
        command = [sys.executable, "-m", "po_jupyter.hub", "--config", str(config), "--tokens", str(tokens)]
        with program(command, BENCH_KEY="bench-key-0123456789") as (url, process):
            place = f"{url}/openai/v1"
            found = measured(place, "bench-token", process)
            patient = slowly(f"{url}/slow/v1", "bench-token")
            piece = asyncio.run(first_piece(place, "bench-token")) * 1000
        load = os.getloadavg()[0]
        rows += [
            {"name": "added at 1 in flight, p50", "value": found["alone"] - straight, "unit": "ms", "aim": "<= 3",
             "note": f"straight {straight:.2f} ms; one durable reservation a call; load {load:.1f}"},
            {"name": "CPU a call at 100 in flight", "value": found["cpu"], "unit": "ms", "aim": "<= 1"},
            {"name": "a call at 100 in flight, p50", "value": found["p50"], "unit": "ms",
             "note": f"straight {crowded:.2f} ms"},
            {"name": "added at 100 in flight to a server that takes 1 s, p50", "value": patient - slow_straight,
             "unit": "ms", "aim": "<= 3", "note": f"straight {slow_straight:.2f} ms"},
            {"name": "first piece of a stream", "value": piece, "unit": "ms"},
        ]  # fmt: skip
        rows += litellm_rows(server.base_url, slow.base_url, straight, slow_straight)
    return rows
