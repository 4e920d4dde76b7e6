"""A loopback server with the batch APIs of OpenAI, Anthropic, Gemini and Mistral, as programmable as `model_server`.

    with BatchServer() as server:
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "any"}  # Anthropic, Gemini: root_url
        ...
        assert len(server.batches()) == 1

Shapes after developers.openai.com/api/reference (Batches, Files) and platform.claude.com/docs/en/api/messages/batches,
read 2026-11, and checked in the tests against the types of the official SDKs (openai 3.54, anthropic 2.12, google-genai
3.6); those of Gemini and Mistral are in `gemini_batches` and `mistral_batches`.

A batch ends at the `looks`-th look at it (a list is one), or never while it is held (`hold()`).
`reply(body, custom_id)` answers a request as in `model_server`: a text, a `Reply` (a status other than 200 is an error
of that row), or a dict that is answered as JSON text. What belongs to one API key is not seen with another, so a test
may use as many worlds as keys.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TypeAlias

from aiohttp import web

from po_jupyter.model.values.json import JsonObject
from po_jupyter.testing.model_server.batch_shapes import (
    FakeBatch,
    answer_result,
    anthropic_batch,
    cursor_list,
    is_success,
    jsonl,
    missing_result,
    new_openai_batch,
    openai_batch,
    read_form_file,
)
from po_jupyter.testing.model_server.gemini_batches import (
    gemini_batch,
    gemini_list,
    gemini_result,
    new_gemini_batch,
    read_related,
)
from po_jupyter.testing.model_server.mistral_batches import mistral_job, mistral_list, new_mistral_job
from po_jupyter.testing.model_server.wire import Answer, Reply

BatchReply: TypeAlias = Callable[[JsonObject, str], Answer]


_KEYS = ("authorization", "x-api-key", "x-goog-api-key")


@dataclass(slots=True)
class Fault:
    """A fault instead of, or after, the next requests whose method and path fit.

    `done` means that the server has done what was asked before it fails. `status` 0 closes the connection.
    """

    method: str
    path: str
    status: int = 500
    times: int = 1
    done: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


class BatchServer:
    """A server of batch APIs in a thread of this process. See the module.

    finished   rows that are answered when a held batch is cancelled or expires
    lost       custom ids' row numbers (their second part) without a result; `twice`: with two
    shuffle    results come in the reverse order
    refuse     errors with which the next batch is refused as a whole (not Anthropic's)
    results_at another origin that Anthropic's `results_url` names, to see that nothing is requested there
    """

    def __init__(self, reply: BatchReply | None = None, *, looks: int = 1, port: int = 0) -> None:
        """A batch ends at its `looks`-th look; `port` 0 is any free one."""
        self.reply = reply
        self.looks = looks
        self.finished = 0
        self.lost: set[int] = set()
        self.twice: set[int] = set()
        self.shuffle = False
        self.refuse: list[JsonObject] = []
        self.results_at = ""
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, str]] = []  # (method, path, key)
        self._on_hold = False
        self._expire = False
        self._files: dict[str, tuple[str, bytes]] = {}
        self._batches: list[FakeBatch] = []
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # -- life ---------------------------------------------------------------------------------------
    def __enter__(self) -> BatchServer:
        """Listen, in a thread of this process."""
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="batch-server", daemon=True)
        self._thread.start()
        if not started.wait(10) or self._loop is None:
            raise RuntimeError("the batch server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Stop, and close every connection."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def _run(self, started: threading.Event) -> None:
        loop = asyncio.new_event_loop()

        async def serve() -> web.AppRunner:
            app = web.Application(client_max_size=512 * 1024**2)
            app.router.add_route("*", "/{tail:.*}", self._handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", self._port)
            await site.start()
            self._port = runner.addresses[0][1]
            return runner

        try:
            runner = loop.run_until_complete(serve())
            self._loop = loop
            started.set()
            loop.run_forever()
            loop.run_until_complete(runner.cleanup())
        finally:
            started.set()
            loop.close()

    @property
    def root_url(self) -> str:
        """The value for `ANTHROPIC_BASE_URL`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """The value for `OPENAI_BASE_URL`: it includes `/v1`."""
        return f"{self.root_url}/v1"

    # -- what tests look at and change ----------------------------------------------------------------
    def batches(self, key: str | None = None) -> list[FakeBatch]:
        """Every batch so far, in the order of creation."""
        with self._lock:
            return [batch for batch in self._batches if key in (None, batch.key)]

    def wait_for(self, count: int, *, path: str = "", timeout: float = 10.0) -> None:
        """Block until `count` batches were created, or `count` requests came whose path contains `path`."""

        def enough() -> bool:
            count_seen = sum(path in p for _, p, _ in self.requests) if path else len(self._batches)
            return count_seen >= count

        with self._changed:
            if not self._changed.wait_for(enough, timeout):
                raise TimeoutError(
                    f"{len(self._batches)} batches, {len(self.requests)} requests after {timeout} s"
                )

    def hold(self) -> None:
        """No batch ends from now on, unless it is cancelled."""
        with self._lock:
            self._on_hold = True

    def release(self) -> None:
        """Batches end again."""
        with self._lock:
            self._on_hold = False

    def expire(self) -> None:
        """Every batch that has not ended does so at its next look: 24 hours are over."""
        with self._lock:
            self._expire = True

    # -- inside -----------------------------------------------------------------------------------------
    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        key = next(
            (request.headers[name].removeprefix("Bearer ") for name in _KEYS if name in request.headers), ""
        )
        path = request.path if request.path.startswith("/v1beta/") else request.path.removeprefix("/v1")
        with self._changed:
            self.requests.append((request.method, path, key))
            self._changed.notify_all()
            fault = next(
                (f for f in self.faults if f.method == request.method and f.path in path and f.times), None
            )
            if fault is not None:
                fault.times -= 1
            try:
                answer = self._answer(request, path, key, body) if fault is None or fault.done else None
            except LookupError as error:
                return self._error(404, f"no such object: {error}")
        if fault is not None:
            if not fault.status:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            return self._error(fault.status, "scripted fault", fault.headers)
        assert answer is not None
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/octet-stream")
        return web.json_response(answer, headers={"x-request-id": f"req-{len(self.requests)}"})

    def _error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
        return web.json_response(
            {"type": "error", "error": {"type": "fault", "message": message, "code": None}},
            status=status,
            headers=dict(headers or {}),
        )

    def _answer(self, request: web.Request, path: str, key: str, body: bytes) -> JsonObject | bytes:
        parts = path.strip("/").split("/")
        match (request.method, *parts):
            case ("POST", "files"):
                return self._upload(request.headers["content-type"], key, body)
            case ("GET", "files", file, "content"):
                return self._content(file, key)
            case ("POST", "batches"):
                made = json.loads(body)
                return self._create(new_openai_batch, key, made["input_file_id"], made)
            case ("GET", "batches"):
                return cursor_list(self._bodies("openai", key), request.query)
            case ("DELETE", "files", file) if self._files.get(file, ("",))[0] == key:
                self._files[file] = ("", b"")  # nobody's
                return {"id": file, "object": "file", "deleted": True}
            case ("GET", "batches", id) | ("GET", "batch", "jobs", id):
                return self._body_of(self._poll(id, key))
            case ("POST", "batches", id, "cancel") | ("POST", "batch", "jobs", id, "cancel"):
                return self._body_of(self._cancel(id, key))
            case _ if path.startswith(("/v1beta/", "/upload/", "/download/")):
                return self._answer_gemini(request, parts, key, body)
            case ("POST", "batch", "jobs"):
                made = json.loads(body)
                return self._create(new_mistral_job, key, made["input_files"][0], made)
            case ("GET", "batch", "jobs"):
                return mistral_list(self._bodies("mistral", key), request.query)
        return self._answer_messages(request, parts, key, body)

    def _answer_messages(
        self, request: web.Request, parts: list[str], key: str, body: bytes
    ) -> JsonObject | bytes:
        match (request.method, *parts):
            case ("POST", "messages", "batches"):
                return self._create_anthropic(key, json.loads(body))
            case ("GET", "messages", "batches"):
                return cursor_list(self._bodies("anthropic", key), request.query)
            case ("GET", "messages", "batches", id):
                return self._body_of(self._poll(id, key))
            case ("POST", "messages", "batches", id, "cancel"):
                return self._body_of(self._cancel(id, key))
            case ("GET", "messages", "batches", id, "results"):
                return jsonl(self._find(id, key).results)
        raise LookupError(request.path)

    def _answer_gemini(
        self, request: web.Request, parts: list[str], key: str, body: bytes
    ) -> JsonObject | bytes:
        match (request.method, *parts):
            case ("POST", "upload", "v1beta", "files"):
                assert request.headers["x-goog-upload-protocol"] == "multipart"
                name = f"files/input-{len(self._files) + 1}"
                self._files[name] = (key, read_related(request.headers["content-type"], body))
                return {"file": {"name": name, "mimeType": "application/jsonl", "state": "ACTIVE"}}
            case ("POST", "v1beta", "models", call) if call.endswith(":batchGenerateContent"):
                model, made = call.partition(":")[0], json.loads(body)
                file = made["batch"]["inputConfig"]["fileName"]
                return self._create(partial(new_gemini_batch, model), key, file, made)
            case ("GET", "v1beta", "batches"):
                return gemini_list(self._bodies("gemini", key), request.query)
            case ("GET", "v1beta", "batches", id):
                return self._body_of(self._poll(f"batches/{id}", key))
            case ("POST", "v1beta", "batches", id) if id.endswith(":cancel"):
                self._cancel(f"batches/{id.removesuffix(':cancel')}", key)
                return {}
            case ("GET", "download", "v1beta", "files", file) if request.query.get("alt") == "media":
                id = file.removeprefix("batch-").removesuffix(":download")
                return jsonl(self._find(f"batches/{id}", key).results)
        raise LookupError(request.path)

    def _create(
        self, make: Callable[[str, str, JsonObject, bytes], FakeBatch], key: str, file: str, body: JsonObject
    ) -> JsonObject:
        """Make a batch of an uploaded file."""
        owner, text = self._files[file]
        if owner != key:
            raise LookupError(file)
        batch = make(f"batch_{len(self._batches) + 1}", key, body, text)
        self._add(batch)
        if self.refuse:
            batch.errors, self.refuse = self.refuse, []
            batch.status = "failed"
        return self._body_of(batch)

    def _bodies(self, vendor: str, key: str) -> list[JsonObject]:
        """Every batch of a vendor, the newest first; each was looked at."""
        found = [batch for batch in reversed(self._batches) if batch.vendor == vendor and batch.key == key]
        return [self._body_of(self._poll(batch.id, key)) for batch in found]

    def _upload(self, kind: str, key: str, body: bytes) -> JsonObject:
        text = read_form_file(kind, body)
        file = f"file-{len(self._files) + 1}"
        self._files[file] = (key, text)
        return {
            "id": file,
            "object": "file",
            "bytes": len(text),
            "created_at": int(time.time()),
            "filename": "batch.jsonl",
            "purpose": "batch",
            "status": "processed",
        }

    def _create_anthropic(self, key: str, body: JsonObject) -> JsonObject:
        requests = [(row["custom_id"], row["params"]) for row in body["requests"]]
        batch = FakeBatch(f"msgbatch_{len(self._batches) + 1}", key, "anthropic", requests, "/v1/messages")
        self._add(batch)
        return self._body_of(batch)

    def _add(self, batch: FakeBatch) -> None:
        ids = [custom_id for custom_id, _ in batch.requests]
        assert len(set(ids)) == len(ids), "custom ids are unique"
        assert all(0 < len(id) <= 64 for id in ids)
        self._batches.append(batch)
        self._changed.notify_all()

    def _find(self, id: str, key: str) -> FakeBatch:
        for batch in self._batches:
            if batch.id == id and batch.key == key:
                return batch
        raise LookupError(id)

    def _body_of(self, batch: FakeBatch) -> JsonObject:
        if batch.vendor == "anthropic":
            return anthropic_batch(batch, self.results_at or self.root_url)
        return {"openai": openai_batch, "gemini": gemini_batch, "mistral": mistral_job}[batch.vendor](batch)

    def _poll(self, id: str, key: str) -> FakeBatch:
        batch = self._find(id, key)
        batch.looks += 1
        if not batch.status and batch.cancelled_at is not None:
            self._end(batch, "cancelled", batch.requests[: self.finished])
        elif not batch.status and self._expire:
            self._end(batch, "expired", batch.requests[: self.finished])
        elif not batch.status and not self._on_hold and batch.looks >= self.looks:
            self._end(batch, "completed", batch.requests)
        return batch

    def _cancel(self, id: str, key: str) -> FakeBatch:
        batch = self._find(id, key)
        if not batch.status:
            batch.cancelled_at = batch.cancelled_at or time.time()
        return batch

    def _reply(self, body: JsonObject, custom_id: str) -> Answer:
        return self.reply(body, custom_id) if self.reply is not None else Reply()

    def _end(self, batch: FakeBatch, status: str, done: list[tuple[str, JsonObject]]) -> None:
        batch.status = status
        for n, (custom_id, body) in enumerate(batch.requests, 1):
            row = int(custom_id.split("-")[1])
            if row in self.lost:
                continue
            shape = gemini_result if batch.vendor == "gemini" else answer_result
            result = (
                shape(batch, n, custom_id, body, self._reply(body, custom_id))
                if n <= len(done)
                else missing_result(batch, custom_id, status)
            )
            if result is None:
                continue
            failed = batch.vendor in ("openai", "mistral") and not is_success(result)
            for _ in range(2 if row in self.twice else 1):
                (batch.failures if failed else batch.results).append(result)
        if self.shuffle:
            batch.results.reverse()

    def _content(self, file: str, key: str) -> bytes:
        kind, _, id = file.partition("-of-")
        batch = self._find(id, key)
        return jsonl(batch.results if kind == "output" else batch.failures)
