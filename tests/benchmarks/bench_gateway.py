"""What the gateway adds to a call: time at the median, CPU, and how soon a stream's pieces come.

2,000 calls at 1 and at 100 in flight to a server (in a process of its own) that answers at once, straight and through
the gateway (in a process of its own, with its ledger on this disk and limits of every kind); then through LiteLLM's
proxy where `PO_BENCH_LITELLM` names the python of an environment that has it (`pip install 'litellm[proxy]'`, in one of
its own), else through the plainest reverse proxy that aiohttp makes, which counts nothing and keeps nothing: what HTTP
through Python costs at least.

A server that answers at once has 100 in flight only while a core is full, of the server's, the gateway's or the load's:
the time of a call is then a queue's. So the same is asked of a server that takes a second as well, as models do, in two
kinds of load:

* at random (Poisson's arrivals, 100 a second, so that 100 are in flight): what independent people and runs make. The
  same seconds of arrival, straight and through the gateway. This is what the aim is for.
* in lockstep: 100 clients that begin in the same moment and ask again as soon as they are answered, which is in the
  same moment again. All work of a second then comes at once, so that the median is that of a queue of 100 on one core.
  The worst that a single map can do.

    python -m tests.benchmarks gateway
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psutil

from po_jupyter.testing.model_server import ModelServer

CALLS = 2000
SECOND = 1.0  # s, of the server that takes its time
ARRIVALS = 1000  # at random, at 100 a second
LITELLM = "PO_BENCH_LITELLM"
BODY: dict[str, Any] = {
    "model": "gpt-5-mini",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Label this row"}],
}
_CONFIG = """
providers:
  openai: {{base_url: "{url}", key_env: BENCH_KEY, concurrency: 2000, calls_per_minute: 1000000}}
  slow: {{wire: chat, base_url: "{slow}", key_env: BENCH_KEY, concurrency: 2000, calls_per_minute: 1000000}}
models: ["openai:gpt-5-mini", "slow:gpt-5-mini"]
prices: {{"openai:gpt-5-mini": {{input: 0.25, output: 2}}, "slow:gpt-5-mini": {{input: 0.25, output: 2}}}}
limits:
  all: {{usd_per_month: 100000, concurrency: 2000}}
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


async def at_random(url: str, token: str, calls: int = ARRIVALS, per_second: float = 100.0) -> list[float]:
    """The seconds of each call, when calls arrive at random. Arrivals are the same each time, and wait for nothing."""
    chance = random.Random(7)
    headers = {"Authorization": f"Bearer {token}"}
    data = json.dumps(BODY).encode()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask() -> float:
            begin = time.perf_counter()
            async with session.post(f"{url}/chat/completions", data=data, headers=headers) as response:
                await response.read()
                assert response.status == 200, await response.text()
            return time.perf_counter() - begin

        await asyncio.gather(*(ask() for _ in range(100)))  # connections are open from here on
        tasks = []
        due = time.perf_counter()
        for _ in range(calls):
            due += chance.expovariate(per_second)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(ask()))
        return list(await asyncio.gather(*tasks))


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


class Patient(NamedTuple):
    """Medians (ms) of a call to a server that takes a second, and the CPU (ms) of a call at random."""

    random: float
    lockstep: float
    cpu: float


def patiently(url: str, token: str, process: psutil.Process | None = None) -> Patient:
    """Both kinds of load."""
    before = process.cpu_times() if process is not None else None
    spread = asyncio.run(at_random(url, token))
    cpu = 0.0
    if process is not None and before is not None:
        after = process.cpu_times()
        cpu = (after.user + after.system - before.user - before.system) / (len(spread) + 100) * 1000
    lockstep = asyncio.run(fan_out(url, token, 100, 1000))[100:]
    return Patient(statistics.median(spread) * 1000, statistics.median(lockstep) * 1000, cpu)


def litellm_rows(url: str, slow: str, straight: float, slow_straight: Patient) -> list[dict[str, Any]]:
    """LiteLLM's proxy, where an environment with it is named; else a plain proxy."""
    if python := os.environ.get(LITELLM):
        note, name = "LiteLLM's proxy with two models and no database", "LiteLLM"
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.yaml"
            models = [
                {
                    "model_name": model,
                    "litellm_params": {"model": "openai/gpt-5-mini", "api_base": address, "api_key": "key"},
                }
                for model, address in ((BODY["model"], url), ("slow", slow))
            ]
            key = "sk-" + "0123456789abcdef" * 4  # it does not start without one
            config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": key}}))
            command = [python, "-c", _LITELLM, str(config)]
            with program(command, LITELLM_LOG="ERROR", LITELLM_MASTER_KEY=key) as (place, process):
                found = measured(place, key, process)
                with asking_for("slow"):
                    patient = patiently(place, key, process)
    else:
        note = "aiohttp's plainest reverse proxy: no accounts, no ledger"
        note, name = f"{note}. {LITELLM} names no LiteLLM", "plain proxy"
        with program([sys.executable, "-c", _PLAIN, url]) as (place, process):
            found = measured(place, "any", process)
        with program([sys.executable, "-c", _PLAIN, slow]) as (place, process):
            patient = patiently(place, "any", process)
    return rows_of(f"{name}: ", found, patient, straight, slow_straight, note=note)


@contextmanager
def asking_for(model: str) -> Iterator[None]:
    """Requests name another model."""
    before, BODY["model"] = BODY["model"], model
    try:
        yield
    finally:
        BODY["model"] = before


def rows_of(
    name: str,
    found: dict[str, float],
    patient: Patient,
    straight: float,
    slow_straight: Patient,
    *,
    note: str,
    aims: bool = False,
) -> list[dict[str, Any]]:
    """The rows of one proxy."""
    added, cpu = ("<= 3", "<= 1") if aims else ("", "")
    slow = "to a server that takes 1 s"
    return [
        {"name": f"{name}added at 1 in flight, p50", "value": found["alone"] - straight, "unit": "ms",
         "aim": added, "note": note},
        {"name": f"{name}added at 100 in flight {slow}, arrivals at random, p50",
         "value": patient.random - slow_straight.random, "unit": "ms", "aim": added,
         "note": f"straight {slow_straight.random:.2f} ms"},
        {"name": f"{name}added at 100 in lockstep {slow}, p50: a queue of 100",
         "value": patient.lockstep - slow_straight.lockstep, "unit": "ms",
         "note": f"straight {slow_straight.lockstep:.2f} ms"},
        {"name": f"{name}CPU a call at 100 in flight", "value": found["cpu"], "unit": "ms", "aim": cpu},
        {"name": f"{name}CPU a call, arrivals at random", "value": patient.cpu, "unit": "ms", "aim": cpu},
        {"name": f"{name}a call at 100 in flight to a server that answers at once, p50", "value": found["p50"],
         "unit": "ms"},
    ]  # fmt: skip


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
    serving = asyncio.create_task(server.serve())
    while not (server.started or serving.done()):
        await asyncio.sleep(0.05)
    print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)
    await serving

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
        slow_straight = patiently(slow.base_url, "any")
        command = [sys.executable, "-m", "po_jupyter.hub", "--config", str(config), "--tokens", str(tokens)]
        with program(command, BENCH_KEY="bench-key-0123456789") as (url, process):
            place = f"{url}/openai/v1"
            found = measured(place, "bench-token", process)
            patient = patiently(f"{url}/slow/v1", "bench-token", process)
            piece = asyncio.run(first_piece(place, "bench-token")) * 1000
        note = f"straight {straight:.2f} ms; one durable reservation a call; load {os.getloadavg()[0]:.1f}"
        rows += rows_of("", found, patient, straight, slow_straight, note=note, aims=True)
        rows[-1]["note"] = f"straight {crowded:.2f} ms"
        rows.append({"name": "first piece of a stream", "value": piece, "unit": "ms"})
        rows += litellm_rows(server.base_url, slow.base_url, straight, slow_straight)
    return rows
