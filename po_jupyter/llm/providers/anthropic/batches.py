"""The client of Anthropic's Message Batches.

Reference, read 2026-11: platform.claude.com/docs/en/api/messages/batches and .../build-with-claude/batch-processing;
the SDK's `anthropic.types.messages.MessageBatch` and `batch_create_params` (2.12).

* One request with every `{custom_id, params}`: at most 100,000 and 256 MB. A custom id is 1 to 64 of letters, digits,
  `_` and `-`.
* A batch carries nothing of ours but the custom ids, and those are visible in its results only, once it has ended. So
  the batch of a request whose answer was lost is searched among the newest ones by age and number of requests; one
  that fits is awaited, and recognised by the token in its custom ids.
* Results are kept for 29 days, and there while `results_url` is. They are requested at their documented path below our
  own base URL, whatever that URL is: a key goes nowhere else, and a gateway may hand on its vendor's address.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from po_jupyter.errors import ModelError, ModelRefused, ModelUnavailable
from po_jupyter.llm.batches.protocol import CLOCK_SKEW, BatchLine, BatchSearch, BatchStatus
from po_jupyter.llm.batches.transfer import BatchTransport, FileBody, header_text, read_batched
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.llm.providers.anthropic.messages import VERSION, MessagesReader, request_body
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.bodies import HttpResponse, decode_json
from po_jupyter.llm.wire.errors import status_of_error
from po_jupyter.llm.wire.exchange import encode_json
from po_jupyter.llm.wire.headers import AnswerHeaders
from po_jupyter.llm.wire.http import Http
from po_jupyter.llm.wire.json_fields import as_count, as_text, mapping_at, mappings_in

_PAGE = 100
_MOST_PAGES = 200
_PATH = "/v1/messages/batches"
_ENDS = ("succeeded", "errored", "canceled", "expired")


class AnthropicBatches:
    """The batch API of Anthropic. See `llm.batches.protocol.Batches`."""

    max_requests = 100_000
    max_bytes = 256_000_000

    def __init__(
        self,
        endpoint: ProviderEndpoint,
        http: Http,
        *,
        name: str = "anthropic",
        key_env: str = "ANTHROPIC_API_KEY",
        timeout: float = 60.0,
    ) -> None:
        """`timeout` is in seconds, for a request without a file."""
        self.name = name
        base = ProviderEndpoint(endpoint.base_url.rstrip("/").removesuffix("/v1"), endpoint.key)
        self._transport = BatchTransport(
            base,
            http,
            name=name,
            key_env=key_env,
            timeout=timeout,
            headers={"anthropic-version": VERSION},
            key_header="x-api-key",
        )

    def group(self, request: ChatRequest) -> str:
        """The one group: every request may be in one batch with every other."""
        return ""

    def line(self, custom_id: str, request: ChatRequest) -> bytes:
        """The request with its custom id as JSON."""
        params = request_body(request, stream=False, provider=self.name)
        return encode_json({"custom_id": custom_id, "params": params}).encode("utf-8", "replace")

    async def upload(self, path: Path, token: str) -> str:
        """The path itself: the requests are sent by `create`."""
        return str(path)

    async def create(self, token: str, group: str, uploaded: str) -> str:
        """Send the file as one request."""
        body = FileBody(Path(uploaded), b'{"requests":[', b"]}", joint=b",")
        return self._read_status(await self._transport.request("POST", _PATH, body)).id

    async def find(self, token: str, *, since: float, count: int, others: Collection[str]) -> BatchSearch:
        """Search the newest batches by age, size and the token in their results; see the module."""
        after, undecided = "", False
        for _ in range(_MOST_PAGES):
            page = decode_json(await self._transport.request("GET", f"{_PATH}?limit={_PAGE}{after}"))
            if not isinstance(page, Mapping) or not isinstance(page.get("data"), list):
                raise self._transport.malformed("the list of batches is none")
            batches = mappings_in(page["data"])
            for batch in batches:
                if self._created_at(batch) < since - CLOCK_SKEW:
                    return BatchSearch(None, undecided)
                status = self._status_from(batch)
                if status.id in others or status.total != count:
                    continue
                if status.state != "ended":
                    undecided = True
                elif await self._has_token(token, status):
                    return BatchSearch(status.id)
            if not page.get("has_more") or not batches:
                return BatchSearch(None, undecided)
            after = f"&after_id={quote(as_text(batches[-1].get('id')), safe='')}"
        raise self._transport.malformed("the list of batches does not end")

    async def _has_token(self, token: str, status: BatchStatus) -> bool:
        if not status.results:
            raise ModelRefused(
                f"{self.name}: batch {status.id} may be the one that was sent before a crash, and its results, which "
                "would tell, are not there any more",
                hint="Look at it in the console; po restart RUN --task TASK sends all rows anew.",
                details={"provider": self.name, "batch": status.id},
            )
        line = self.parse_line(await self._transport.first_line(status.results[0]))
        return line is not None and line.custom_id.startswith(f"{token}-")

    def _created_at(self, batch: Mapping[str, object]) -> float:
        try:
            created = datetime.fromisoformat(as_text(batch.get("created_at")))
        except ValueError:
            raise self._transport.malformed("a batch does not say when it was created") from None
        return (created if created.tzinfo else created.replace(tzinfo=UTC)).timestamp()

    async def status(self, id: str) -> BatchStatus:
        """The status of a batch."""
        return self._read_status(await self._transport.request("GET", f"{_PATH}/{quote(id, safe='')}"))

    def _read_status(self, body: bytes) -> BatchStatus:
        batch = decode_json(body)
        if not isinstance(batch, Mapping):
            raise self._transport.malformed("the batch is not JSON")
        return self._status_from(batch)

    def _status_from(self, batch: Mapping[str, object]) -> BatchStatus:
        id = as_text(batch.get("id"))
        if not id:
            raise self._transport.malformed("the batch has no id")
        state, counts = as_text(batch.get("processing_status")), mapping_at(batch, "request_counts")
        done = sum(as_count(counts.get(name)) for name in _ENDS)
        has_results = bool(as_text(batch.get("results_url")))
        return BatchStatus(
            id=id,
            state="ended" if state == "ended" else "cancelling" if state == "canceling" else "working",
            total=done + as_count(counts.get("processing")),
            done=done,
            results=(f"{_PATH}/{quote(id, safe='')}/results",) if has_results else (),
            expired=as_count(counts.get("expired")) > 0,
        )

    async def cancel(self, id: str) -> None:
        """Cancel a batch; one that has ended, or is being cancelled, is left as it is."""
        await self._transport.cancel(f"{_PATH}/{quote(id, safe='')}/cancel")

    async def download(self, status: BatchStatus, path: Path) -> None:
        """Write the results to a file."""
        await self._transport.download_lines(status.results, path)

    def parse_line(self, line: bytes) -> BatchLine | None:
        """A line of the results; None for one that cannot be read."""
        body = decode_json(line)
        if not isinstance(body, dict) or not isinstance(body.get("custom_id"), str):
            return None
        return BatchLine(body["custom_id"], body, mapping_at(body, "result").get("type") == "canceled")

    def read_response(self, request: ChatRequest, line: BatchLine) -> ChatResponse:
        """The answer in a line, priced. Raises a ModelError."""
        result = mapping_at(line.body, "result")
        reader = MessagesReader(self.name, request, self._transport.key, self._transport.key_env)
        kind = as_text(result.get("type"))
        if kind == "succeeded":
            response = HttpResponse(200, AnswerHeaders(), json.dumps(result.get("message")).encode())
            return read_batched(reader, response)
        if kind == "errored":
            # The error's own envelope is inside: `{type: error, error: {type, message}, request_id}`.
            error = mapping_at(result, "error")
            inner = mapping_at(error, "error") or error
            headers = AnswerHeaders({"request-id": header_text(error.get("request_id"))})
            response = HttpResponse(status_of_error(inner), headers, json.dumps(error).encode())
            return read_batched(reader, response)
        raise self._not_answered(kind, request)

    def _not_answered(self, kind: str, request: ChatRequest) -> ModelError:
        reason = {
            "expired": "the batch expired (24 h) before the row was looked at",
            "canceled": "the batch was cancelled at the provider before the row was looked at",
        }.get(kind, "the row has no result that can be read")
        details = {
            "provider": self.name,
            "model": request.model_name,
            "reason": f"batch_{kind or 'unreadable'}"[:100],
        }
        return ModelUnavailable(f"{self.name}: {reason}", details=details)
