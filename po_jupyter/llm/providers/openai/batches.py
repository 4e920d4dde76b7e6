"""The client of OpenAI's Batch API.

Reference, read 2026-11: developers.openai.com/api/docs/guides/batch and /api/reference (Batches, Files); the SDK's
`openai.types.Batch` and `BatchCreateParams` (3.54).

* A file of JSON lines `{custom_id, method, url, body}`, uploaded with the purpose `batch`: at most 50,000 requests and
  200 MB, for one endpoint and one model. Then a batch of that file, whose `metadata` holds our token: a search
  for the batch goes by it.
* Answers and errors are two files. Requests that were not worked on are in the second, as `batch_expired` or
  `batch_cancelled`. A batch whose file is refused (`failed`) has neither; `errors` then holds the reasons, by line.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from po_jupyter.errors import ModelError, ModelUnavailable
from po_jupyter.llm.batches.jsonl_files import read_answer, upload_file
from po_jupyter.llm.batches.protocol import CLOCK_SKEW, BatchLine, BatchSearch, BatchStatus
from po_jupyter.llm.batches.transfer import BatchTransport
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.llm.providers.compatible.chat_completions import ChatReader, chat_body
from po_jupyter.llm.providers.compatible.family import OPENAI
from po_jupyter.llm.providers.openai.responses import ResponsesReader, responses_body
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.bodies import decode_json
from po_jupyter.llm.wire.exchange import encode_json
from po_jupyter.llm.wire.http import Http
from po_jupyter.llm.wire.json_fields import as_count, as_text, mapping_at, mappings_in
from po_jupyter.llm.wire.response_reader import ResponseReader

_PAGE = 100
_MOST_PAGES = 200
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_NOT_WORKED_ON = {
    "batch_expired": "the batch expired (24 h) before the row was looked at",
    "batch_cancelled": "the batch was cancelled at the provider before the row was looked at",
}


class _Failure(NamedTuple):
    """`error`, `code` and `lines` of a `BatchStatus`."""

    error: str
    code: str
    lines: Mapping[int, str]


class OpenAIBatches:
    """The batch API of OpenAI. See `llm.batches.protocol.Batches`."""

    max_requests = 50_000
    max_bytes = 200_000_000

    def __init__(
        self,
        endpoint: ProviderEndpoint,
        http: Http,
        api_of: Callable[[ChatRequest], str],
        *,
        name: str = "openai",
        key_env: str = "OPENAI_API_KEY",
        timeout: float = 60.0,
    ) -> None:
        """`api_of`: the API of a request, `responses` or `chat`. `timeout`: seconds for a request without a file."""
        self.name = name
        self._api_of = api_of
        self._transport = BatchTransport(endpoint, http, name=name, key_env=key_env, timeout=timeout)

    def group(self, request: ChatRequest) -> str:
        """ProviderEndpoint and model: a batch has one of each."""
        path = "/v1/responses" if self._api_of(request) == "responses" else "/v1/chat/completions"
        return f"{path} {request.model_name}"

    def line(self, custom_id: str, request: ChatRequest) -> bytes:
        """The request as a line of the file."""
        responses = self._api_of(request) == "responses"
        body = (responses_body if responses else chat_body)(request, stream=False, provider=self.name)
        url = "/v1/responses" if responses else "/v1/chat/completions"
        return encode_json({"custom_id": custom_id, "method": "POST", "url": url, "body": body}).encode(
            "utf-8", "replace"
        )

    async def upload(self, path: Path, token: str) -> str:
        """Upload the file; its id."""
        return await upload_file(self._transport, path, token)

    async def create(self, token: str, group: str, uploaded: str) -> str:
        """Create a batch of an uploaded file; its id."""
        body = {
            "input_file_id": uploaded,
            "endpoint": group.partition(" ")[0],
            "completion_window": "24h",
            "metadata": {"po_jupyter": token},
        }
        return self._read_status(
            await self._transport.request("POST", "/batches", encode_json(body).encode())
        ).id

    async def find(self, token: str, *, since: float, count: int, others: Collection[str]) -> BatchSearch:
        """Search by the token in the metadata, from the newest batch on."""
        after = ""
        for _ in range(_MOST_PAGES):
            page = decode_json(await self._transport.request("GET", f"/batches?limit={_PAGE}{after}"))
            if not isinstance(page, Mapping) or not isinstance(page.get("data"), list):
                raise self._transport.malformed("the list of batches is none")
            batches = mappings_in(page["data"])
            for batch in batches:
                if mapping_at(batch, "metadata").get("po_jupyter") == token:
                    return BatchSearch(as_text(batch.get("id")))
            last = batches[-1] if batches else {}
            created = last.get("created_at")
            old = isinstance(created, int | float) and created < since - CLOCK_SKEW
            if not page.get("has_more") or not batches or old:
                return BatchSearch()
            after = f"&after={quote(as_text(last.get('id')), safe='')}"
        raise self._transport.malformed("the list of batches does not end")

    async def status(self, id: str) -> BatchStatus:
        """The status of a batch."""
        return self._read_status(await self._transport.request("GET", f"/batches/{quote(id, safe='')}"))

    def _read_status(self, body: bytes) -> BatchStatus:
        batch = decode_json(body)
        if not isinstance(batch, Mapping) or not as_text(batch.get("id")):
            raise self._transport.malformed("the batch has no id")
        status, counts = as_text(batch.get("status")), mapping_at(batch, "request_counts")
        failure = self._failure(batch) if status == "failed" else _Failure("", "", {})
        files = (batch.get("output_file_id"), batch.get("error_file_id"))
        return BatchStatus(
            id=as_text(batch["id"]),
            state="ended" if status in _ENDED else "cancelling" if status == "cancelling" else "working",
            total=as_count(counts.get("total")),
            done=as_count(counts.get("completed")) + as_count(counts.get("failed")),
            error=failure.error,
            code=failure.code,
            lines=failure.lines,
            results=tuple(file for file in files if isinstance(file, str) and file),
            expired=status == "expired",
        )

    def _failure(self, batch: Mapping[str, object]) -> _Failure:
        """The reason why a batch was refused as a whole: the first error without a line, else the first."""
        clean = self._transport.one_line
        errors = mappings_in(mapping_at(batch, "errors").get("data"))
        lines = {
            number: clean(e.get("message") or e.get("code") or "refused")
            for e in errors
            if isinstance(number := e.get("line"), int)
        }
        general = (e for e in errors if not isinstance(e.get("line"), int))
        first: Mapping[str, object] = next(general, errors[0] if errors else {})
        error = clean(first.get("message") or first.get("code") or "no reason")
        return _Failure(error, clean(first.get("code") or "")[:100], lines)

    async def cancel(self, id: str) -> None:
        """Cancel a batch; one that has ended, or is being cancelled, is left as it is."""
        await self._transport.cancel(f"/batches/{quote(id, safe='')}/cancel")

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
        cancelled = mapping_at(body, "error").get("code") == "batch_cancelled"
        return BatchLine(body["custom_id"], body, cancelled)

    def read_response(self, request: ChatRequest, line: BatchLine) -> ChatResponse:
        """The answer in a line, priced. Raises a ModelError."""
        response = mapping_at(line.body, "response")
        if not response:
            raise self._not_answered(mapping_at(line.body, "error"), request)
        key, key_env = self._transport.key, self._transport.key_env
        reader: ResponseReader
        if self._api_of(request) == "responses":
            reader = ResponsesReader(self.name, request, key, key_env)
        else:
            reader = ChatReader(self.name, request, key, key_env, OPENAI)
        return read_answer(reader, response)

    def _not_answered(self, error: Mapping[str, object], request: ChatRequest) -> ModelError:
        clean = self._transport.one_line
        code = clean(error.get("code") or "no response")[:100]
        reason = _NOT_WORKED_ON.get(code) or f"{code}: {clean(error.get('message') or 'no reason')}"
        details = {"provider": self.name, "model": request.model_name, "reason": code}
        return ModelUnavailable(f"{self.name}: {reason}", details=details)
