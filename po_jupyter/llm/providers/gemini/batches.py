"""The client of the Gemini API's batches.

Reference, read 2026-11: ai.google.dev/api/batch-api and .../gemini-api/docs/batch-api; the SDK's `google.genai.batches`
and `types.JobState` (3.6).

* A file of JSON lines `{key, request}` is uploaded to the Files API, then `models/{model}:batchGenerateContent` makes
  a batch of it. Inline requests have no names and are matched by their position: they are not used. A file may have
  2 GB; ours stay far below, so that one upload is one request.
* The batch's `displayName` is our token: a search for it goes by that. The order of the list is not documented, so it
  is read to its end.
* A batch is a long-running operation whose `metadata` is the state (`BATCH_STATE_*`; the SDK calls them
  `JOB_STATE_*`). Results are a file of lines `{key, response}` or `{key, error}`, an error being a google.rpc.Status.
  One that expired (48 h) has none.
* Results are requested at their documented path below our own base URL: a key goes nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import quote

from po_jupyter.errors import ModelError, ModelUnavailable
from po_jupyter.llm.batches.jsonl_files import BOUNDARY
from po_jupyter.llm.batches.protocol import BatchLine, BatchSearch, BatchStatus
from po_jupyter.llm.batches.transfer import BatchTransport, FileBody, read_batched
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.llm.providers.gemini.generate_content import GeminiReader, model_path, request_body
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.bodies import HttpResponse, decode_json
from po_jupyter.llm.wire.exchange import encode_json
from po_jupyter.llm.wire.headers import AnswerHeaders
from po_jupyter.llm.wire.http import Http
from po_jupyter.llm.wire.json_fields import as_text, mapping_at, mappings_in
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.whole_numbers import whole_number

_PAGE = 100
_MOST_PAGES = 200
_ENDED = frozenset({"SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})
_MISSING = {
    "EXPIRED": "the batch expired (48 h) before the row was looked at",
    "CANCELLED": "the batch was cancelled at the provider before the row was looked at",
}
_CANCELLED = 1  # google.rpc.Code
# The HTTP status of each google.rpc.Code, as google/rpc/code.proto has it; a deadline inside a batch bills nothing.
_STATUS_OF_CODE = {
    2: 500, 3: 400, 4: 503, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503,
    15: 500, 16: 401,
}  # fmt: skip


class GeminiBatches:
    """The batch API of Gemini. See `llm.batches.protocol.Batches`."""

    max_requests = 50_000
    max_bytes = 100_000_000

    def __init__(
        self,
        endpoint: ProviderEndpoint,
        http: Http,
        *,
        name: str = "gemini",
        key_env: str = "GEMINI_API_KEY",
        timeout: float = 60.0,
    ) -> None:
        """`timeout` is in seconds, for a request without a file."""
        self.name = name
        base = ProviderEndpoint(endpoint.base_url.rstrip("/").removesuffix("/v1beta"), endpoint.key)
        self._transport = BatchTransport(
            base, http, name=name, key_env=key_env, timeout=timeout, key_header="x-goog-api-key"
        )

    def group(self, request: ChatRequest) -> str:
        """The path of the model: a batch has one. Raises ModelRefused for a name that is none."""
        return model_path(request.model_name)

    def line(self, custom_id: str, request: ChatRequest) -> bytes:
        """The request as a line of the file."""
        body = {"key": custom_id, "request": request_body(request, provider=self.name)}
        return encode_json(body).encode("utf-8", "replace")

    async def upload(self, path: Path, token: str) -> str:
        """Upload the file; its name."""
        described = encode_json({"file": {"displayName": token, "mimeType": "application/jsonl"}})
        head = (
            f"--{BOUNDARY}\r\nContent-Type: application/json; charset=utf-8\r\n\r\n{described}\r\n"
            f"--{BOUNDARY}\r\nContent-Type: application/jsonl\r\n\r\n"
        ).encode()
        body = FileBody(path, head, f"\r\n--{BOUNDARY}--\r\n".encode())
        kind = {
            "content-type": f"multipart/related; boundary={BOUNDARY}",
            "x-goog-upload-protocol": "multipart",
        }
        answer = decode_json(await self._transport.request("POST", "/upload/v1beta/files", body, kind))
        file = mapping_at(answer, "file") if isinstance(answer, Mapping) else {}
        name = as_text(file.get("name"))
        if not name:
            raise self._transport.malformed("the uploaded file has no name")
        return name

    async def create(self, token: str, group: str, uploaded: str) -> str:
        """Create a batch of an uploaded file; its id."""
        body = {"batch": {"displayName": token, "inputConfig": {"fileName": uploaded}}}
        path = f"/v1beta/{group}:batchGenerateContent"
        return self._read_status(await self._transport.request("POST", path, encode_json(body).encode())).id

    async def find(self, token: str, *, since: float, count: int, others: Collection[str]) -> BatchSearch:
        """Search by the display name, which is the token."""
        after = ""
        for _ in range(_MOST_PAGES):
            page = decode_json(await self._transport.request("GET", f"/v1beta/batches?pageSize={_PAGE}{after}"))
            if not isinstance(page, Mapping):
                raise self._transport.malformed("the list of batches is none")
            for batch in mappings_in(page.get("operations")):
                if mapping_at(batch, "metadata").get("displayName") == token:
                    return BatchSearch(self._status_from(batch).id)
            following = as_text(page.get("nextPageToken"))
            if not following:
                return BatchSearch()
            after = f"&pageToken={quote(following, safe='')}"
        raise self._transport.malformed("the list of batches does not end")

    async def status(self, id: str) -> BatchStatus:
        """The status of a batch."""
        return self._read_status(await self._transport.request("GET", _path_of(id)))

    def _read_status(self, body: bytes) -> BatchStatus:
        batch = decode_json(body)
        if not isinstance(batch, Mapping):
            raise self._transport.malformed("the batch is not JSON")
        return self._status_from(batch)

    def _status_from(self, batch: Mapping[str, object]) -> BatchStatus:
        id = as_text(batch.get("name"))
        if not id:
            raise self._transport.malformed("the batch has no name")
        metadata = mapping_at(batch, "metadata")
        state = as_text(metadata.get("state")).rpartition("STATE_")[2]
        counts, error = mapping_at(metadata, "batchStats"), mapping_at(batch, "error")
        result = mapping_at(metadata, "output") or mapping_at(batch, "response")
        file = as_text(result.get("responsesFile"))
        has_ended = state in _ENDED or batch.get("done") is True
        reason = self._transport.one_line(error.get("message") or "no reason")
        failed = state == "FAILED" or (has_ended and state not in _ENDED and bool(error))
        return BatchStatus(
            id=id,
            state="ended" if has_ended else "cancelling" if state == "CANCELLING" else "working",
            total=_count(counts.get("requestCount")),
            done=_count(counts.get("successfulRequestCount")) + _count(counts.get("failedRequestCount")),
            error=reason if failed else "",
            code=str(error.get("code") or "")[:100] if failed else "",
            results=(
                f"/download/v1beta/files/{quote(file.removeprefix('files/'), safe='')}:download?alt=media",
            )
            if file
            else (),
            expired=state == "EXPIRED",
            missing=f"the batch failed: {reason}" if failed else _MISSING.get(state, ""),
        )

    async def cancel(self, id: str) -> None:
        """Cancel a batch; one that has ended, or is being cancelled, is left as it is."""
        await self._transport.cancel(f"{_path_of(id)}:cancel")

    async def download(self, status: BatchStatus, path: Path) -> None:
        """Write the results to a file."""
        await self._transport.download_lines(status.results, path)

    def parse_line(self, line: bytes) -> BatchLine | None:
        """A line of the results; None for one that cannot be read, or names no request."""
        body = decode_json(line)
        if not isinstance(body, dict) or not isinstance(body.get("key"), str):
            return None
        return BatchLine(body["key"], body, _error_in(body).get("code") == _CANCELLED)

    def read_response(self, request: ChatRequest, line: BatchLine) -> ChatResponse:
        """The answer in a line. Raises a ModelError."""
        reader = GeminiReader(self.name, request, self._transport.key, self._transport.key_env)
        if response := mapping_at(line.body, "response"):
            body = json.dumps(response).encode()
            return read_batched(reader, HttpResponse(200, AnswerHeaders(), body))
        error = _error_in(line.body)
        if not error or line.cancelled:
            raise self._not_answered(request, line.cancelled)
        code = error.get("code")
        status = _STATUS_OF_CODE.get(code, code) if isinstance(code, int) else 500
        status = status if 400 <= status < 600 else 500
        return read_batched(
            reader, HttpResponse(status, AnswerHeaders(), json.dumps({"error": error}).encode())
        )

    def _not_answered(self, request: ChatRequest, cancelled: bool) -> ModelError:
        reason = _MISSING["CANCELLED"] if cancelled else "the row has no result that can be read"
        details = {
            "provider": self.name,
            "model": request.model_name,
            "reason": "batch_cancelled" if cancelled else "batch_unreadable",
        }
        return ModelUnavailable(f"{self.name}: {reason}", details=details)


def _path_of(id: str) -> str:
    return f"/v1beta/batches/{quote(id.removeprefix('batches/'), safe='')}"


def _error_in(line: JsonObject) -> Mapping[str, object]:
    """The google.rpc.Status in a line: the references call it `error` and "a status object"."""
    return mapping_at(line, "error") or mapping_at(line, "status")


def _count(value: object) -> int:
    """A count, which comes as a text: its kind is int64."""
    return whole_number(str(value)) or 0 if isinstance(value, int | str) else 0
