"""Runs of prompts alone, worked off together: how many a second, what one costs, how soon its first call goes out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import os
import resource
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from po_jupyter.config import Settings
from po_jupyter.ipc.channel import Channel, Listener
from po_jupyter.ipc.messages import DrainWorker, Heartbeat, RunLeft, SharedHello, TakeRun, WorkerRequest
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.service import Orchestrator, RunningOrchestrator
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import NewRun
from po_jupyter.worker.shared import SharedWorker
from po_jupyter.worker.turns import TurnLoop
from po_jupyter.worker.zygote import preload

PROCESSES = 2
RUNS = 400
CLIENTS = 4


def body(number: object, *, model: str = "fake:echo", tasks: int = 10) -> dict[str, Any]:
    """A chain of prompts; each run has a text of its own, so that none is answered from the cache."""
    prompts = ["Summarise {{ seed.text }}"] + [f"Go on with {{{{ tasks.t{i} }}}}" for i in range(tasks - 1)]
    return {
        "pipeline": {
            "name": "empty", "llm": {"model": model},
            "tasks": [{"name": f"t{i}", "prompt": prompt} for i, prompt in enumerate(prompts)],
        },
        "seed": {"name": "seed", "data": {"text": f"{number}: " + "lorem ipsum " * 20}},
    }  # fmt: skip


# -- the engine alone ---------------------------------------------------------------------------------------


def create(store: DiskStore, number: object, **more: Any) -> str:
    """A run in the store, as the orchestrator makes it."""
    submitted = body(number, **more)
    pipeline = validate_pipeline(submitted["pipeline"])
    run = f"{time.time_ns():016x}{secrets.token_hex(3)}"
    created = draft(
        "run.created", name="seed", pipeline=pipeline.name, version=pipeline.version, owner="me", budget={},
        tasks=[{"name": t.name, "kind": t.kind} for t in pipeline.tasks],
    )  # fmt: skip
    definition = {"pipeline": pipeline.to_json(), "seed": submitted["seed"], "options": {}}
    store.create_run(NewRun(run, "me", pipeline.name, pipeline.version, "seed", 0, definition, [created]))
    return run


class Engine:
    """Processes of many runs, each with what an orchestrator sends it."""

    def __init__(self, data_dir: Path, count: int) -> None:
        self._data_dir = data_dir
        self._count = count
        self.channels: list[Channel] = []
        self.left: asyncio.Queue[int] = asyncio.Queue()
        self._listener = Listener(data_dir / "bench.sock", self._serve)
        self._programs: list[asyncio.subprocess.Process] = []

    async def _serve(self, channel: Channel, first: IpcMessage) -> None:
        assert isinstance(first, SharedHello)
        self.channels.append(channel)
        while (message := await channel.receive()) is not None:
            if isinstance(message, RunLeft):
                self.left.put_nowait(message.status)
            elif isinstance(message, Heartbeat):
                channel.send(message)

    async def __aenter__(self) -> Engine:
        await self._listener.start()
        for _ in range(self._count):
            self._programs.append(
                await asyncio.create_subprocess_exec(
                    sys.executable, __file__, str(self._data_dir), str(self._listener.address),
                    stdout=asyncio.subprocess.PIPE,
                )
            )  # fmt: skip
        while len(self.channels) < self._count:
            await asyncio.sleep(0.01)
        return self

    async def work_off(self, runs: list[str]) -> float:
        """Have all of them worked off, spread over the processes; the seconds that took."""
        before = time.perf_counter()
        for i, run in enumerate(runs):
            self.channels[i % self._count].send(TakeRun(run, None, False, {"epoch": "e", "limited": []}), run)
        for _ in runs:
            status = await self.left.get()
            assert status == 0, status
        return time.perf_counter() - before

    def cpu(self) -> float:
        """CPU seconds of the processes so far."""
        return sum(sum(psutil.Process(p.pid).cpu_times()[:2]) for p in self._programs)

    async def end(self) -> list[dict[str, float]]:
        """What each process says of itself at its end."""
        for channel in self.channels:
            channel.send(DrainWorker())
        outputs = [(await program.communicate())[0] for program in self._programs]
        await self._listener.close()
        return [json.loads(output) for output in outputs]

    async def __aexit__(self, *exc: object) -> None:
        for program in self._programs:
            if program.returncode is None:
                program.kill()
                await program.wait()


def serve(data_dir: Path, address: str) -> None:
    """The program of one process: it also watches how late its own loop is."""
    gc.disable()  # as the zygote does
    preload()
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20, 50)
    settings = Settings(data_dir=data_dir, log_level="WARNING")
    store = DiskStore(data_dir / "store", checked=True)
    request = WorkerRequest(
        run="", expect=None, address=address, watched=False, shards=8, settings={}, cwd=None, log="", env={},
        log_token=None, turns=str(data_dir / "runtime"),
    )  # fmt: skip
    lag = 0.0

    async def watch() -> None:
        nonlocal lag
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            lag = max(lag, time.perf_counter() - before - 0.01)

    async def run() -> None:
        watching = asyncio.create_task(watch())
        await SharedWorker(request, settings, store).serve()
        watching.cancel()

    loop = TurnLoop()
    profile = os.environ.get("PO_BENCH_PROFILE")
    if profile:
        import cProfile

        profiler = cProfile.Profile(time.thread_time)
        profiler.enable()
    loop.run_until_complete(run())
    if profile:
        profiler.disable()
        profiler.dump_stats(f"{profile}-{os.getpid()}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"lag": lag, "peak": peak}))


async def engine(data_dir: Path) -> list[dict[str, Any]]:
    """Throughput and CPU of the engine, and how late the loop is when 500 start at once."""
    store = DiskStore(data_dir / "store", shards=8)
    async with Engine(data_dir, PROCESSES) as processes:
        await processes.work_off([create(store, f"warm {i}") for i in range(20)])
        runs = [create(store, i) for i in range(RUNS)]
        used = processes.cpu()
        seconds = await processes.work_off(runs)
        each = (processes.cpu() - used) / RUNS
        await processes.end()
    async with Engine(data_dir, PROCESSES) as processes:
        await processes.work_off([create(store, f"again {i}") for i in range(20)])
        waiting = [create(store, f"slow {i}", model="fake:echo?latency=1", tasks=2) for i in range(500)]
        await processes.work_off(waiting)
        ends = await processes.end()
    store.close()
    return [
        row("shared, engine: runs of ten empty prompts", RUNS / seconds, "runs/s", ">= 160", f"{PROCESSES} processes"),
        row("shared, engine: CPU of such a run", each * 1000, "ms", "<= 10"),
        row("shared, engine: loop late, 500 at once", max(e["lag"] for e in ends) * 1000, "ms", "<= 250"),
        row("shared, engine: peak of a process with 250 runs", max(e["peak"] for e in ends), "MB", ""),
    ]  # fmt: skip


# -- the whole product --------------------------------------------------------------------------------------


async def all_done(service: RunningOrchestrator) -> None:
    async with service.changes.subscribe(None) as notes:
        while service.live_runs():
            await notes.get(0.05)


def family() -> list[psutil.Process]:
    """This process and those below it."""
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def cpu() -> float:
    return sum(sum(process.cpu_times()[:2]) for process in family())


async def first_call(service: RunningOrchestrator) -> list[float]:
    """Milliseconds from `submit` to the first request at a model, by the wall clock of this machine."""
    arrived: asyncio.Queue[float] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            await converse(reader, writer)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            arrived.put_nowait(time.perf_counter())
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            text = b'{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": {}}'
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            writer.write(head % len(text) + text)

    server = await asyncio.start_server(answer, "127.0.0.1", int(os.environ["PO_BENCH_PORT"]))
    found = []
    for i in range(30):
        before = time.perf_counter()
        await service.submissions.submit(body(f"first {i}", model="ollama:x", tasks=1), owner="local")
        found.append((await arrived.get() - before) * 1000)
        await all_done(service)
        await asyncio.sleep(0.05)
    server.close()
    return found[5:]


async def per_second(service: RunningOrchestrator, what: str, runs: int) -> float:
    """How many runs a second are submitted, without HTTP, and worked off."""
    before = time.perf_counter()
    for i in range(runs):
        await service.submissions.submit(body(f"{what} {i}"), owner="local")
    await all_done(service)
    return runs / (time.perf_counter() - before)


async def product(data_dir: Path) -> list[dict[str, Any]]:
    """All of it, and beside it the same runs with a process for each: what the machine is worth, both know."""
    settings = Settings(data_dir=data_dir, log_level="ERROR", shared_worker=True)
    service = await (orchestrator := Orchestrator(settings)).start()
    rows = []
    try:
        await per_second(service, "warm", 1)
        times = await first_call(service)
        rows.append(
            row("shared: submit to first call", statistics.median(times), "ms", "<= 10", f"worst {max(times):.0f} ms")
        )  # fmt: skip
        await per_second(service, "warmer", 50)
        used = cpu()
        together = await per_second(service, "measured", RUNS)
        rows.append(row("shared: submitted and worked off", together, "runs/s", ">= 120", "without HTTP"))
        rows.append(row("shared: CPU of a run, all processes", (cpu() - used) / RUNS * 1000, "ms", ""))
        for i in range(500):
            await service.submissions.submit(
                body(f"long {i}", model="fake:echo?latency=20", tasks=1), owner="local"
            )
        while service.dispatcher.load()["running"] < 500:
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        memory = [process.memory_full_info() for process in family()]
        weight = sum(info.pss for info in memory) / 1e6
        rows.append(
            row("shared: 500 at work, whole product", weight, "MB", "<= 300", f"{len(memory)} processes")
        )
    finally:
        await orchestrator.stop()
    settings = settings.model_copy(update={"data_dir": data_dir / "each", "shared_worker": False})
    service = await (orchestrator := Orchestrator(settings)).start()
    try:
        await per_second(service, "warm", 10)
        alone = await per_second(service, "measured", RUNS // 4)
    finally:
        await orchestrator.stop()
    note = f"{alone:.1f} runs/s with a process for each"
    return [*rows, row("shared: as many as with a process for each", together / alone, "x", ">= 3", note)]


# -- over HTTP ----------------------------------------------------------------------------------------------


async def over_http(data_dir: Path) -> list[dict[str, Any]]:
    """The product as it is installed: submissions at a server's door, by clients whose CPU is not the product's."""
    ready = data_dir / "ready.json"
    log = data_dir / "server.log"
    environ = os.environ | {
        "PO_DATA_DIR": str(data_dir / "data"), "PO_SHARED_WORKER": "true", "PO_REQUESTS_PER_MINUTE": "10000000",
        "PO_LOG_LEVEL": "WARNING",
    }  # fmt: skip
    (data_dir / "data").mkdir()
    with log.open("wb") as out:
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "po_jupyter.server", "--ready-file", str(ready),
            stdout=out, stderr=out, stdin=asyncio.subprocess.DEVNULL, env=environ,
        )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            while not ready.exists():
                assert program.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
        door = Door(json.loads(ready.read_text()))
        server = psutil.Process(program.pid)

        def cpu_of_product() -> float:
            return sum(sum(p.cpu_times()[:2]) for p in (server, *server.children(recursive=True)))

        await asyncio.to_thread(door.submit_all, [f"warm {i}" for i in range(50)])
        used, own = cpu_of_product(), time.process_time()
        before = time.perf_counter()
        await asyncio.to_thread(door.submit_all, range(RUNS))
        seconds = time.perf_counter() - before
        each, ours = (cpu_of_product() - used) / RUNS * 1000, (time.process_time() - own) / RUNS * 1000
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.terminate()
        await program.wait()
    return [
        row("shared: submitted over HTTP and worked off", RUNS / seconds, "runs/s", ">= 120", f"{CLIENTS} at once"),
        row("shared: CPU of such a run, all processes", each, "ms", "", f"clients beside it: {ours:.1f} ms"),
    ]  # fmt: skip


class Door:
    """A server that runs are submitted at over HTTP."""

    def __init__(self, info: dict[str, Any]) -> None:
        self._address = urlsplit(info["url"])
        self._headers = {"Authorization": f"token {info['token']}", "Content-Type": "application/json"}

    def submit_all(self, numbers: Iterable[object]) -> None:
        """Submit a run for each, and return when all have ended. Blocks."""
        waiting = iter(list(numbers))

        def some(_: int) -> None:
            connection = self._connect()
            for number in waiting:
                self._ask(connection, "POST", "runs", json.dumps(body(number)).encode())
            connection.close()

        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(some, range(CLIENTS)))
        connection = self._connect()
        while self._ask(connection, "GET", "runs?state=pending,running&limit=1")["runs"]:
            time.sleep(0.05)
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(str(self._address.hostname), self._address.port, timeout=60)

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, content: bytes | None = None
    ) -> dict[str, Any]:
        connection.request(method, f"{self._address.path}po/api/v1/{path}", content, self._headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status in (200, 201), text
        return dict(json.loads(text))


def row(name: str, value: float, unit: str, aim: str, note: str = "") -> dict[str, Any]:
    return {"name": name, "value": round(value, 2), "unit": unit, "aim": aim, "note": note}


def main() -> list[dict[str, Any]]:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"PO_BENCH_PORT": str(port), "OLLAMA_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    rows = []
    for measure in (engine, product, over_http):
        with tempfile.TemporaryDirectory(prefix="po-bench-") as folder:
            rows += asyncio.run(measure(Path(folder)))
    return rows


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
