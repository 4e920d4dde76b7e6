"""OpenAI's Batch API.

Reference, read 2026-11: developers.openai.com/api/docs/guides/batch and /api/reference (Batches, Files); the SDK's
`openai.types.Batch` and `BatchCreateParams` (3.54).

* A file of JSON lines `{custom_id, method, url, body}`, uploaded with the purpose `batch`: at most 50,000 requests and
  200 MB, for one endpoint and one model. Then a batch of that file, whose `metadata` holds our token: by it a batch
  is found again.
* Answers and errors are two files. Requests that were not looked at are in the second, as `batch_expired` or
  `batch_cancelled`. A batch whose file is refused (`failed`) has neither; `errors` then says why, by line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from po_jupyter.errors import ModelError, ModelRefused, ModelUnavailable
from po_jupyter.llm.batches.protocol import CLOCKS, BatchLine, BatchStatus, Found
from po_jupyter.llm.batches.transfer import Api, FileBody
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.llm.providers.compatible.chat_completions import ChatReading
from po_jupyter.llm.providers.compatible.chat_completions import body_of as chat_body
from po_jupyter.llm.providers.compatible.family import OPENAI
from po_jupyter.llm.providers.openai.responses import ResponsesReading
from po_jupyter.llm.providers.openai.responses import body_of as responses_body
from po_jupyter.llm.wire.bodies import Answer, as_json
from po_jupyter.llm.wire.exchange import Endpoint, encode
from po_jupyter.llm.wire.http import Http
from po_jupyter.llm.wire.response_reader import Reading, count, part, rows, word

_PAGE = 100
_MOST_PAGES = 200
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_NOT_LOOKED_AT = {
    "batch_expired": "the batch expired (24 h) before the row was looked at",
    "batch_cancelled": "the batch was cancelled at the provider before the row was looked at",
}
_BOUNDARY = "po-jupyter-batch-6d1f0b2c"  # JSON lines never begin with dashes, so it cannot occur in the file


class OpenAIBatches:
    """See `llm.batches.base.Batches`. `api_of` says which API a request goes to: `responses` or `chat`."""

    max_requests = 50_000
    max_bytes = 200_000_000

    def __init__(
        self,
        endpoint: Endpoint,
        http: Http,
        api_of: Callable[[ChatRequest], str],
        *,
        name: str = "openai",
        key_env: str = "OPENAI_API_KEY",
        timeout: float = 60.0,
    ) -> None:
        self.name = name
        self._api_of = api_of
        self._api = Api(endpoint, http, name=name, key_env=key_env, timeout=timeout)

    def group(self, request: ChatRequest) -> str:
        """Endpoint and model: a batch has one of each."""
        path = "/v1/responses" if self._api_of(request) == "responses" else "/v1/chat/completions"
        return f"{path} {request.model_name}"

    def line(self, custom_id: str, request: ChatRequest) -> bytes:
        """See `Batches`."""
        responses = self._api_of(request) == "responses"
        body = (responses_body if responses else chat_body)(request, stream=False, provider=self.name)
        url = "/v1/responses" if responses else "/v1/chat/completions"
        said = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
        return encode(said).encode("utf-8", "replace")

    async def upload(self, path: Path, token: str) -> str:
        """See `Batches`: the file's id."""
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{token}.jsonl"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        ).encode()
        body = FileBody(path, head, f"\r\n--{_BOUNDARY}--\r\n".encode())
        kind = {"content-type": f"multipart/form-data; boundary={_BOUNDARY}"}
        said = as_json(await self._api.ask("POST", "/files", body, kind))
        found = said.get("id") if isinstance(said, Mapping) else None
        if not isinstance(found, str) or not found:
            raise self._api.shapeless("the uploaded file has no id")
        return found

    async def create(self, token: str, group: str, uploaded: str) -> str:
        """See `Batches`."""
        body = {
            "input_file_id": uploaded,
            "endpoint": group.partition(" ")[0],
            "completion_window": "24h",
            "metadata": {"po_jupyter": token},
        }
        return self._status(await self._api.ask("POST", "/batches", encode(body).encode())).id

    async def find(self, token: str, *, since: float, count: int, known: Collection[str]) -> Found:
        """See `Batches`: by the token in its metadata, from the newest batch on."""
        after = ""
        for _ in range(_MOST_PAGES):
            page = as_json(await self._api.ask("GET", f"/batches?limit={_PAGE}{after}"))
            if not isinstance(page, Mapping) or not isinstance(page.get("data"), list):
                raise self._api.shapeless("the list of batches is none")
            found = rows(page["data"])
            for batch in found:
                if part(batch, "metadata").get("po_jupyter") == token:
                    return Found(word(batch.get("id")))
            last = found[-1] if found else {}
            created = last.get("created_at")
            old = isinstance(created, int | float) and created < since - CLOCKS
            if not page.get("has_more") or not found or old:
                return Found()
            after = f"&after={quote(word(last.get('id')), safe='')}"
        raise self._api.shapeless("the list of batches does not end")

    async def look(self, id: str) -> BatchStatus:
        """See `Batches`."""
        return self._status(await self._api.ask("GET", f"/batches/{quote(id, safe='')}"))

    def _status(self, body: bytes) -> BatchStatus:
        said = as_json(body)
        if not isinstance(said, Mapping) or not word(said.get("id")):
            raise self._api.shapeless("the batch has no id")
        status, counts = word(said.get("status")), part(said, "request_counts")
        errors = rows(part(said, "errors").get("data"))
        lines = {
            number: self._api.clean(e.get("message") or e.get("code") or "refused")
            for e in errors
            if isinstance(number := e.get("line"), int)
        }
        why = next((e for e in errors if not isinstance(e.get("line"), int)), errors[0] if errors else {})
        files = (said.get("output_file_id"), said.get("error_file_id"))
        return BatchStatus(
            id=word(said["id"]),
            state="ended" if status in _ENDED else "cancelling" if status == "cancelling" else "working",
            total=count(counts.get("total")),
            done=count(counts.get("completed")) + count(counts.get("failed")),
            error=self._api.clean(why.get("message") or why.get("code") or "no reason")
            if status == "failed"
            else "",
            code=self._api.clean(why.get("code") or "")[:100],
            lines=lines if status == "failed" else {},
            results=tuple(file for file in files if isinstance(file, str) and file),
            expired=status == "expired",
        )

    async def cancel(self, id: str) -> None:
        """See `Batches`."""
        try:
            await self._api.ask("POST", f"/batches/{quote(id, safe='')}/cancel")
        except ModelRefused as error:
            if error.http_status not in (400, 404, 409):
                raise
            # It has ended meanwhile, or is being cancelled already: `look` says which.

    async def fetch(self, status: BatchStatus, path: Path) -> None:
        """See `Batches`: the answers, then the errors."""
        await self._api.save([f"/files/{quote(file, safe='')}/content" for file in status.results], path)

    def parse(self, line: bytes) -> BatchLine | None:
        """See `Batches`."""
        said = as_json(line)
        if not isinstance(said, dict) or not isinstance(said.get("custom_id"), str):
            return None
        return BatchLine(said["custom_id"], said, part(said, "error").get("code") == "batch_cancelled")

    def read(self, request: ChatRequest, line: BatchLine) -> ChatResponse:
        """See `Batches`."""
        from httpx import Headers

        said = line.said
        response = part(said, "response")
        if not response:
            raise self._not_answered(part(said, "error"), request)
        given = (self.name, request, self._api.key, self._api.key_env)
        responses = self._api_of(request) == "responses"
        reading: Reading = ResponsesReading(*given) if responses else ChatReading(*given, OPENAI)
        headers = Headers({"x-request-id": plain(response.get("request_id"))})
        status = response.get("status_code")
        body = json.dumps(response.get("body")).encode()
        answer = Answer(status if isinstance(status, int) else 502, headers, body)
        return read_answer(reading, answer)

    def _not_answered(self, error: Mapping[str, Any], request: ChatRequest) -> ModelError:
        code = self._api.clean(error.get("code") or "no response")[:100]
        why = _NOT_LOOKED_AT.get(code) or f"{code}: {self._api.clean(error.get('message') or 'no reason')}"
        details = {"provider": self.name, "model": request.model_name, "reason": code}
        return ModelUnavailable(f"{self.name}: {why}", details=details)


def plain(value: Any) -> str:
    """A provider's word as the value of a header: ASCII."""
    return word(value).encode("ascii", "ignore").decode()


def read_answer(reading: Reading, answer: Answer) -> ChatResponse:
    """The response in an answer that came with a batch. Raises a ModelError."""
    try:
        response = reading.read(answer)
    except ModelError as error:
        reading.mark(error)
        raise
    return replace(response, seconds=0.0)
