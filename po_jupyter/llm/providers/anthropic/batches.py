"""Anthropic's Message Batches.

Reference, read 2026-11: platform.claude.com/docs/en/api/messages/batches and .../build-with-claude/batch-processing;
the SDK's `anthropic.types.messages.MessageBatch` and `batch_create_params` (2.12).

* One request with every `{custom_id, params}`: at most 100,000 and 256 MB. A custom id is 1 to 64 of letters, digits,
  `_` and `-`.
* A batch carries nothing of ours but the custom ids, and those are seen in its results only, once it has ended. So
  the batch of a request whose answer was lost is looked for among the newest ones by age and number of requests; one
  that fits is awaited, and known by the token in its custom ids.
* Results are kept for 29 days. While `results_url` says so they are asked for at their documented place below our
  own base URL, wherever that URL leads: a key goes nowhere else, and a gateway may hand on its vendor's address.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from po_jupyter.errors import ModelError, ModelRefused, ModelUnavailable
from po_jupyter.llm.batches.protocol import CLOCKS, BatchLine, BatchStatus, Found
from po_jupyter.llm.batches.transfer import Api, FileBody
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.llm.providers.anthropic.messages import VERSION, MessagesReading, body_of
from po_jupyter.llm.providers.openai.batches import plain, read_answer
from po_jupyter.llm.wire.bodies import Answer, as_json
from po_jupyter.llm.wire.errors import status_of
from po_jupyter.llm.wire.exchange import Endpoint, encode
from po_jupyter.llm.wire.http import Http
from po_jupyter.llm.wire.response_reader import count, part, rows, word

_PAGE = 100
_MOST_PAGES = 200
_PATH = "/v1/messages/batches"
_ENDS = ("succeeded", "errored", "canceled", "expired")


class AnthropicBatches:
    """See `llm.batches.base.Batches`."""

    max_requests = 100_000
    max_bytes = 256_000_000

    def __init__(
        self,
        endpoint: Endpoint,
        http: Http,
        *,
        name: str = "anthropic",
        key_env: str = "ANTHROPIC_API_KEY",
        timeout: float = 60.0,
    ) -> None:
        self.name = name
        base = Endpoint(endpoint.base_url.rstrip("/").removesuffix("/v1"), endpoint.key)
        self._api = Api(
            base,
            http,
            name=name,
            key_env=key_env,
            timeout=timeout,
            headers={"anthropic-version": VERSION},
            key_header="x-api-key",
        )

    def group(self, request: ChatRequest) -> str:
        """Every request may be in one batch with every other."""
        return ""

    def line(self, custom_id: str, request: ChatRequest) -> bytes:
        """See `Batches`."""
        params = body_of(request, stream=False, provider=self.name)
        return encode({"custom_id": custom_id, "params": params}).encode("utf-8", "replace")

    async def upload(self, path: Path, token: str) -> str:
        """Nothing: the requests go out with `create`."""
        return str(path)

    async def create(self, token: str, group: str, uploaded: str) -> str:
        """See `Batches`."""
        body = FileBody(Path(uploaded), b'{"requests":[', b"]}", joint=b",")
        return self._status(await self._api.ask("POST", _PATH, body)).id

    async def find(self, token: str, *, since: float, count: int, known: Collection[str]) -> Found:
        """See `Batches`, and the module for how."""
        after, perhaps = "", False
        for _ in range(_MOST_PAGES):
            page = as_json(await self._api.ask("GET", f"{_PATH}?limit={_PAGE}{after}"))
            if not isinstance(page, Mapping) or not isinstance(page.get("data"), list):
                raise self._api.shapeless("the list of batches is none")
            found = rows(page["data"])
            for said in found:
                if self._created(said) < since - CLOCKS:
                    return Found(None, perhaps)
                status = self._status_of(said)
                if status.id in known or status.total != count:
                    continue
                if status.state != "ended":
                    perhaps = True
                elif await self._is(token, status):
                    return Found(status.id)
            if not page.get("has_more") or not found:
                return Found(None, perhaps)
            after = f"&after_id={quote(word(found[-1].get('id')), safe='')}"
        raise self._api.shapeless("the list of batches does not end")

    async def _is(self, token: str, status: BatchStatus) -> bool:
        if not status.results:
            raise ModelRefused(
                f"{self.name}: batch {status.id} may be the one that was sent before a crash, and its results, which "
                "would tell, are not there any more",
                hint="Look at it in the console; po restart RUN --task TASK sends all rows anew.",
                details={"provider": self.name, "batch": status.id},
            )
        line = self.parse(await self._api.first_line(status.results[0]))
        return line is not None and line.custom_id.startswith(f"{token}-")

    def _created(self, said: Mapping[str, Any]) -> float:
        try:
            created = datetime.fromisoformat(word(said.get("created_at")))
        except ValueError:
            raise self._api.shapeless("a batch does not say when it was created") from None
        return (created if created.tzinfo else created.replace(tzinfo=UTC)).timestamp()

    async def look(self, id: str) -> BatchStatus:
        """See `Batches`."""
        return self._status(await self._api.ask("GET", f"{_PATH}/{quote(id, safe='')}"))

    def _status(self, body: bytes) -> BatchStatus:
        said = as_json(body)
        if not isinstance(said, Mapping):
            raise self._api.shapeless("the batch is not JSON")
        return self._status_of(said)

    def _status_of(self, said: Mapping[str, Any]) -> BatchStatus:
        if not word(said.get("id")):
            raise self._api.shapeless("the batch has no id")
        state, counts = word(said.get("processing_status")), part(said, "request_counts")
        done = sum(count(counts.get(name)) for name in _ENDS)
        there = bool(word(said.get("results_url")))
        return BatchStatus(
            id=word(said["id"]),
            state="ended" if state == "ended" else "cancelling" if state == "canceling" else "working",
            total=done + count(counts.get("processing")),
            done=done,
            results=(f"{_PATH}/{quote(word(said['id']), safe='')}/results",) if there else (),
            expired=count(counts.get("expired")) > 0,
        )

    async def cancel(self, id: str) -> None:
        """See `Batches`."""
        try:
            await self._api.ask("POST", f"{_PATH}/{quote(id, safe='')}/cancel")
        except ModelRefused as error:
            if error.http_status not in (400, 404, 409):
                raise

    async def fetch(self, status: BatchStatus, path: Path) -> None:
        """See `Batches`."""
        await self._api.save(status.results, path)

    def parse(self, line: bytes) -> BatchLine | None:
        """See `Batches`."""
        said = as_json(line)
        if not isinstance(said, dict) or not isinstance(said.get("custom_id"), str):
            return None
        return BatchLine(said["custom_id"], said, part(said, "result").get("type") == "canceled")

    def read(self, request: ChatRequest, line: BatchLine) -> ChatResponse:
        """See `Batches`."""
        from httpx import Headers

        result = part(line.said, "result")
        reading = MessagesReading(self.name, request, self._api.key, self._api.key_env)
        kind = word(result.get("type"))
        if kind == "succeeded":
            return read_answer(reading, Answer(200, Headers(), json.dumps(result.get("message")).encode()))
        if kind == "errored":
            # The error's own envelope is inside: `{type: error, error: {type, message}, request_id}`.
            error = part(result, "error")
            inner = part(error, "error") or error
            headers = Headers({"request-id": plain(error.get("request_id"))})
            return read_answer(reading, Answer(status_of(inner), headers, json.dumps(error).encode()))
        raise self._not_answered(kind, request)

    def _not_answered(self, kind: str, request: ChatRequest) -> ModelError:
        why = {
            "expired": "the batch expired (24 h) before the row was looked at",
            "canceled": "the batch was cancelled at the provider before the row was looked at",
        }.get(kind, "the row has no result that can be read")
        details = {
            "provider": self.name,
            "model": request.model_name,
            "reason": f"batch_{kind or 'unreadable'}"[:100],
        }
        return ModelUnavailable(f"{self.name}: {why}", details=details)
