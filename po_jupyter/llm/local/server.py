"""The embedded model's server: its program, and `LocalServer`, which starts it and keeps it running.

    python -m po_jupyter.llm.local.server --model smollm2-135m

opens llama.cpp's OpenAI-compatible server (package `xllamacpp`) on a free loopback port behind a random key,
prints one line of JSON `{"base_url", "key", "model", "pid"}` (or `{"error": {...}}`) when it is ready, and ends
when its standard input closes. So it never outlives its owner, however that one ends.

One server serves every worker: llama.cpp batches its slots, which beats a model per worker in memory and speed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import os
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from po_jupyter.errors import ModelError, ModelRefused, ModelUnavailable, from_json
from po_jupyter.llm.local.weights import Progress, fetch
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.platform import limits
from po_jupyter.platform.source_root import SOURCE_ROOT

SLOTS = 4  # answers written at the same time
SLOT_CONTEXT = 2048  # tokens of a prompt and its answer together
START_TIMEOUT = 180.0  # seconds to load the weights, on a busy machine too
_HEADER = 1 << 16  # bytes of a GGUF file, in which the settings of its model are
_STARTS, _WITHIN = 5, 60.0  # more starts than that within so many seconds is a crash loop
_KEPT = (
    "PATH",
    "HOME",
    "TMPDIR",
    "TEMP",
    "TMP",
    "LANG",
    "LC_ALL",
    "SYSTEMROOT",
    "VIRTUAL_ENV",
    "PO_MODELS_DIR",
)
_KEPT_PREFIXES = ("OMP_", "GGML_", "CUDA_", "LD_", "DYLD_")


class LocalServer:
    """The server process of one model: started at the first `ready`, and again after it died."""

    def __init__(
        self,
        model: str = "smollm2-135m",
        *,
        directory: Path | None = None,
        progress: Progress | None = None,
        threads: int | None = None,
        parallel: int = SLOTS,
        context: int = SLOT_CONTEXT,
    ) -> None:
        """`progress` is called during the download of the weights, in a thread. `parallel` answers are written at
        the same time; each has `context` tokens for its prompt and answer. `threads` None: all cores but one."""
        self.model = model
        self._directory = directory
        self._progress = progress
        self._options = ["--parallel", str(parallel), "--context", str(context)]
        if threads is not None:
            self._options += ["--threads", str(threads)]
        self._process: asyncio.subprocess.Process | None = None
        self._endpoint: ProviderEndpoint | None = None
        self._lock = asyncio.Lock()
        self._starts: deque[float] = deque(maxlen=_STARTS)
        self._stderr: deque[str] = deque(maxlen=20)
        self._reader: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """The process id of the server while it runs, else None."""
        return self._process.pid if self._alive() and self._process is not None else None

    async def ready(self) -> ProviderEndpoint:
        """The server's base URL and key. Fetches the weights and starts it when need be; callers share one start.

        Raises ModelRefused (no such model, a package is missing) or ModelUnavailable (not now).
        """
        if self._endpoint is not None and self._alive():
            return self._endpoint
        async with self._lock:
            if self._endpoint is not None and self._alive():
                return self._endpoint
            if self._stopped:
                raise ModelUnavailable("the local model is being stopped")
            await self._end()
            now = time.monotonic()
            if len(self._starts) == _STARTS and now - self._starts[0] < _WITHIN:
                raise ModelUnavailable(
                    f"the local model {self.model} ended {_STARTS} times within a minute{self._last_line()}",
                    hint="The machine may be out of memory; see `po doctor`.",
                )
            self._starts.append(now)
            path = await asyncio.to_thread(fetch, self.model, self._directory, progress=self._progress)
            try:
                async with asyncio.timeout(START_TIMEOUT):
                    self._endpoint = await self._start(path)
            except TimeoutError:
                await self._end()
                raise ModelUnavailable(
                    f"the local model {self.model} was not ready within {START_TIMEOUT:g} s"
                ) from None
            except BaseException:
                await self._end()
                raise
            return self._endpoint

    async def stop(self) -> None:
        """End the server for good."""
        self._stopped = True
        async with self._lock:
            await self._end()

    def _alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def _start(self, path: Path) -> ProviderEndpoint:
        self._stderr.clear()
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "po_jupyter.llm.local.server",
            "--model",
            str(path),
            "--name",
            self.model,
            *self._options,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(os.environ),
            start_new_session=True,  # Ctrl-C in a terminal is for its owner, who then closes the pipe
        )
        assert process.stdout is not None and process.stderr is not None
        self._reader = asyncio.create_task(self._listen(process.stderr))
        line = await process.stdout.readline()
        greeting = json.loads(line) if line.startswith(b"{") else {}
        if "error" in greeting:
            error = from_json(greeting["error"])
            raise error if isinstance(error, ModelError) else ModelUnavailable(str(error))
        if not greeting:
            await process.wait()
            await self._reader
            raise ModelUnavailable(f"the local model {self.model} did not start{self._last_line()}")
        return ProviderEndpoint(greeting["base_url"], greeting["key"])

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        # Read on to the end, or a full pipe would stop the server in the middle of an answer.
        while True:
            try:
                line = await stderr.readline()
            except ValueError:  # one line longer than the buffer
                continue
            if not line:
                return
            self._stderr.append(line.decode(errors="replace").strip()[:300])

    def _last_line(self) -> str:
        return f": {self._stderr[-1]}" if self._stderr else ""

    async def _end(self) -> None:
        process, self._process, self._endpoint = self._process, None, None
        if process is not None:
            if process.returncode is None and process.stdin is not None:
                process.stdin.close()
                try:
                    async with asyncio.timeout(5):
                        await process.wait()
                except TimeoutError:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
            await process.wait()
            # Give the pipes' transports back now; the loop may be closed before they notice by themselves.
            transport = getattr(process, "_transport", None)
            if transport is not None:
                transport.close()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
            self._reader = None


class LocalServers:
    """The servers of an orchestrator, one for each local model that is used."""

    def __init__(self, make: Callable[[str], LocalServer] = LocalServer) -> None:
        """`make(model)` is a server that has not been started."""
        self._make = make
        self._servers: dict[str, LocalServer] = {}

    async def endpoint(self, model: str) -> ProviderEndpoint:
        """The base URL and key of a model's server; see `LocalServer.ready`. The resolver of the provider."""
        server = self._servers.get(model)
        if server is None:
            server = self._servers[model] = self._make(model)
        return await server.ready()

    async def aclose(self) -> None:
        """Stop them all."""
        await asyncio.gather(*(server.stop() for server in self._servers.values()))


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the child: no keys, and the directory of this package, so that a checkout works too."""
    variables = {k: v for k, v in environ.items() if k in _KEPT or k.startswith(_KEPT_PREFIXES)}
    return {**variables, "PYTHONPATH": SOURCE_ROOT}


def _serve(
    path: Path, name: str, *, threads: int, parallel: int, context: int
) -> tuple[object, dict[str, object]]:
    """Open the server; (the object that must be kept alive, the line to print)."""
    try:
        xllamacpp = importlib.import_module("xllamacpp")  # it has no types
    except ImportError as error:
        if "libgomp" in str(error):
            raise ModelRefused(
                "the local model needs the system library libgomp.so.1, which is not installed",
                hint="Install it: apt install libgomp1 (Debian, Ubuntu), dnf install libgomp (Fedora).",
            ) from None
        raise ModelRefused(
            f"the local model needs the package xllamacpp: {error}",
            hint="Install it: pip install 'po_jupyter[local]'",
        ) from None
    key = secrets.token_urlsafe(24)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {name if name != str(path) else path.stem}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.n_parallel = parallel
    params.n_ctx = parallel * context
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 256  # of finished prompts; the default is 8 GB
    params.ui = False
    params.verbosity = 0
    params.embedding = True  # beside answers; it costs these nothing
    params.n_ubatch = params.n_batch = max(context, params.n_batch)  # a text is embedded in one go
    if not _has_pooling(path):
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    try:
        server = xllamacpp.Server(params)
    except Exception as error:  # what the extension raises is not documented
        raise ModelRefused(f"{path.name} cannot be loaded: {error}") from None
    address = str(server.listening_address)
    return server, {"base_url": f"{address}/v1", "key": key, "model": name, "pid": os.getpid()}


def _has_pooling(path: Path) -> bool:
    """Whether a GGUF file says how the vectors of a text's tokens become one: a model made for embeddings does."""
    with path.open("rb") as file:
        return b".pooling_type" in file.read(_HEADER)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve a model until standard input closes."""
    parser = argparse.ArgumentParser(prog="local_server", description=main.__doc__)
    parser.add_argument("--model", required=True, help="a known name, or a GGUF file")
    parser.add_argument("--name", help="what answers call the model (default: --model)")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--parallel", type=int, default=SLOTS, help="answers written at the same time")
    parser.add_argument("--context", type=int, default=SLOT_CONTEXT, help="tokens of one prompt and answer")
    options = parser.parse_args(argv)
    # Our one line goes to the real stdout; whatever the native code prints goes to stderr.
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        limits.be_nice(5)  # notebooks and their server stay responsive while it thinks
        try:
            path = fetch(options.model)
            server, line = _serve(
                path,
                options.name or options.model,
                threads=options.threads,
                parallel=options.parallel,
                context=options.context,
            )
        except ModelError as error:
            print(json.dumps({"error": error.to_json()}), file=out, flush=True)
            return 1
        print(json.dumps(line), file=out, flush=True)
        while os.read(0, 4096):
            pass
    del server
    # No clean-up: native threads may be in the middle of an answer that nobody waits for any more.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
