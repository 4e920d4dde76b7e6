"""The provider for Mistral: Chat Completions, and its batch API.

Reference, read 2026-11: docs.mistral.ai (Batch, Known limitations); the SDK's `mistralai.client.models.BatchJob`,
`CreateBatchJobRequest`, `BatchJobStatus` (2.x).

* A file of JSON lines `{custom_id, body}`, uploaded with the purpose `batch`: at most 100,000 requests and 512 MB, for
  one model, which the job names. The job's `metadata` holds our token: a search for it goes by that.
* Answers and errors are two files of lines `{custom_id, response: {status_code, body}, error}`. A job that was
  cancelled or whose time was over (`TIMEOUT_EXCEEDED`) may have neither; the rows that are in no file were not
  worked on.
* Files stay until they are deleted, and count towards the workspace's storage.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from po_jupyter.errors import ModelError, ModelUnavailable
from po_jupyter.llm.batches.jsonl_files import read_answer, upload_file
from po_jupyter.llm.batches.protocol import CLOCK_SKEW, BatchLine, BatchSearch, BatchStatus
from po_jupyter.llm.batches.transfer import BatchTransport
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText, Provider
from po_jupyter.llm.providers.compatible.chat_completions import ChatReader, chat_body
from po_jupyter.llm.providers.compatible.chat_completions import make as make_compatible
from po_jupyter.llm.providers.compatible.family import QUIRKS
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.bodies import decode_json
from po_jupyter.llm.wire.errors import status_of_error
from po_jupyter.llm.wire.exchange import encode_json
from po_jupyter.llm.wire.http import Http
from po_jupyter.llm.wire.json_fields import as_count, as_text, mapping_at, mappings_in

_PAGE = 100
_MOST_PAGES = 200
_ENDPOINT = "/v1/chat/completions"
_QUIRKS = QUIRKS["mistral"]
_ENDED = frozenset({"SUCCESS", "FAILED", "TIMEOUT_EXCEEDED", "CANCELLED"})
_CANCELLING = "CANCELLATION_REQUESTED"
_MISSING = {
    "TIMEOUT_EXCEEDED": "the batch expired (24 h) before the row was looked at",
    "CANCELLED": "the batch was cancelled at the provider before the row was looked at",
}


def make(context: ProviderContext) -> Provider:
    """The provider of a context. Raises ModelKeyError."""
    return Mistral(make_compatible(context), context)


class Mistral:
    """A provider for Mistral: Chat Completions, with the batch API under `batches`."""

    embeds = True

    def __init__(self, chat: Provider, context: ProviderContext) -> None:
        """`chat` makes single requests."""
        self.name = chat.name
        self.embeds = context.spec.embeddings
        self._chat = chat
        self._context = context

    @cached_property
    def batches(self) -> MistralBatches:
        """The batch API. See `llm.batches.protocol.Batches`."""
        context = self._context
        return MistralBatches(context.endpoint, context.http, name=self.name, key_env=context.spec.key_env)

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """Make one request. See `llm.chat.Provider`."""
        return await self._chat.chat(request, on_text=on_text)

    async def aclose(self) -> None:
        """Close nothing: the connections belong to `Http`."""


class MistralBatches:
    """The batch API of Mistral. See `llm.batches.protocol.Batches`."""

    max_requests = 100_000
    max_bytes = 500_000_000

    def __init__(
        self,
        endpoint: ProviderEndpoint,
        http: Http,
        *,
        name: str = "mistral",
        key_env: str = "MISTRAL_API_KEY",
        timeout: float = 60.0,
    ) -> None:
        """`timeout` is in seconds, for a request without a file."""
        self.name = name
        self._transport = BatchTransport(endpoint, http, name=name, key_env=key_env, timeout=timeout)

    def group(self, request: ChatRequest) -> str:
        """The model: a job has one."""
        return request.model_name

    def line(self, custom_id: str, request: ChatRequest) -> bytes:
        """The request as a line of the file, without the model, which the job names."""
        body = chat_body(request, stream=False, quirks=_QUIRKS, provider=self.name)
        del body["model"]
        return encode_json({"custom_id": custom_id, "body": body}).encode("utf-8", "replace")

    async def upload(self, path: Path, token: str) -> str:
        """Upload the file; its id."""
        return await upload_file(self._transport, path, token)

    async def create(self, token: str, group: str, uploaded: str) -> str:
        """Create a job of an uploaded file; its id."""
        body = {
            "input_files": [uploaded],
            "model": group,
            "endpoint": _ENDPOINT,
            "metadata": {"po_jupyter": token},
            "timeout_hours": 24,
        }
        return self._read_status(
            await self._transport.request("POST", "/batch/jobs", encode_json(body).encode())
        ).id

    async def find(self, token: str, *, since: float, count: int, others: Collection[str]) -> BatchSearch:
        """Search by the token in the metadata, from the newest job on."""
        for number in range(_MOST_PAGES):
            path = f"/batch/jobs?page={number}&page_size={_PAGE}&order_by=-created"
            page = decode_json(await self._transport.request("GET", path))
            if not isinstance(page, Mapping):
                raise self._transport.malformed("the list of batches is none")
            jobs = mappings_in(page.get("data"))  # null where there is none
            for job in jobs:
                if mapping_at(job, "metadata").get("po_jupyter") == token:
                    return BatchSearch(as_text(job.get("id")))
            created = [job.get("created_at") for job in jobs]
            if all(
                isinstance(at, int | float) and at < since - CLOCK_SKEW for at in created
            ):  # a short page is no end: the server may have a smaller one than was asked for
                return BatchSearch()
        raise self._transport.malformed("the list of batches does not end")

    async def status(self, id: str) -> BatchStatus:
        """The status of a job."""
        return self._read_status(await self._transport.request("GET", f"/batch/jobs/{quote(id, safe='')}"))

    def _read_status(self, body: bytes) -> BatchStatus:
        job = decode_json(body)
        if not isinstance(job, Mapping) or not as_text(job.get("id")):
            raise self._transport.malformed("the batch has no id")
        status = as_text(job.get("status"))
        first = next(iter(mappings_in(job.get("errors"))), {})
        reason = self._transport.one_line(first.get("message") or "no reason")
        failed = status == "FAILED"
        files = (job.get("output_file"), job.get("error_file"))
        inputs = job["input_files"] if isinstance(job.get("input_files"), list) else ()
        return BatchStatus(
            id=as_text(job["id"]),
            state="ended" if status in _ENDED else "cancelling" if status == _CANCELLING else "working",
            total=as_count(job.get("total_requests")),
            done=as_count(job.get("completed_requests")),
            error=reason if failed else "",
            results=tuple(file for file in files if isinstance(file, str) and file),
            expired=status == "TIMEOUT_EXCEEDED",
            missing=f"the batch failed: {reason}" if failed else _MISSING.get(status, ""),
            uploads=tuple(file for file in inputs if isinstance(file, str) and file),
        )

    async def cancel(self, id: str) -> None:
        """Cancel a job; one that has ended, or is being cancelled, is left as it is."""
        await self._transport.cancel(f"/batch/jobs/{quote(id, safe='')}/cancel")

    async def discard(self, uploaded: str) -> None:
        """Delete an uploaded file."""
        await self._transport.request("DELETE", f"/files/{quote(uploaded, safe='')}")

    async def download(self, status: BatchStatus, path: Path) -> None:
        """Write the answers, then the errors, to a file."""
        await self._transport.download_lines(
            [f"/files/{quote(file, safe='')}/content" for file in status.results], path
        )

    def parse_line(self, line: bytes) -> BatchLine | None:
        """A line of the results; None for one that cannot be read."""
        body = decode_json(line)
        if not isinstance(body, dict) or not isinstance(body.get("custom_id"), str):
            return None
        return BatchLine(body["custom_id"], body)

    def read_response(self, request: ChatRequest, line: BatchLine) -> ChatResponse:
        """The answer in a line. Raises a ModelError."""
        reader = ChatReader(self.name, request, self._transport.key, self._transport.key_env, _QUIRKS)
        if response := mapping_at(line.body, "response"):
            return read_answer(reader, response)
        error = line.body.get("error")
        if isinstance(error, Mapping) and error:
            return read_answer(reader, {"status_code": status_of_error(error), "body": {"error": error}})
        raise self._not_answered(request, error)

    def _not_answered(self, request: ChatRequest, error: object) -> ModelError:
        reason = self._transport.one_line(error) if error else "the row has no result that can be read"
        details = {"provider": self.name, "model": request.model_name, "reason": "batch_unreadable"}
        return ModelUnavailable(f"{self.name}: {reason}", details=details)
