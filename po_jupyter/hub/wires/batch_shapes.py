"""What the vendors' batch APIs call things: the paths, a batch and its state, its results, and lists of batches.

References: see `llm.providers.openai.batches`, `.anthropic.batches`, `.gemini.batches` and `.compatible.mistral`.
Nothing here reserves, sends or knows users.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from po_jupyter.hub.config import Wire
from po_jupyter.hub.problems import invalid
from po_jupyter.hub.wires.operations import Api
from po_jupyter.hub.wires.request_parts import in_camel_case
from po_jupyter.llm.wire.json_fields import as_text, mapping_at, mappings_in
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.whole_numbers import whole_number

_PAGE = 100
_MARK = "po_gateway"  # in the metadata of a batch: by it one is found whose answer was lost
_NAME_WITH_MARK = re.compile(r"(.*) \[po:([0-9A-Za-z-]+)\]", re.DOTALL)
_LONGEST_NAME = 200
_MOST_HOURS = 168


class BatchJob(NamedTuple):
    """What the body that makes a batch of a file asks for. `model` is "" where each line of the file has its own."""

    file: str
    endpoint: str
    model: str = ""


class OwnPage(NamedTuple):
    """A page of a user's own list: so many, from an own one on (`after`), or without the first (`skip`)."""

    limit: int
    after: str = ""
    skip: int = 0


class BatchShape:
    """OpenAI's shape, from which the others differ."""

    api: Api = "chat"  # of the answers in results
    root = "/batches"
    # After which the vendor deletes a file for a batch by itself; OpenAI's reference of files, read 2026-11: 30 days.
    file_hours: float | None = 720.0
    _fields = frozenset({"input_file_id", "endpoint", "completion_window", "metadata"})
    _ended = frozenset({"completed", "failed", "expired", "cancelled"})
    _whole = frozenset({"completed"})
    _result_files = ("output_file_id", "error_file_id")

    # -- a batch -------------------------------------------------------------------------------------------
    def path(self, id: str) -> str:
        """Where a batch is."""
        return f"{self.root}/{id}"

    def id_of(self, batch: Mapping[str, object]) -> str:
        """Its id, "" for none."""
        return as_text(batch.get("id"))

    def has_ended(self, batch: Mapping[str, object]) -> bool:
        """Whether it has ended."""
        return self._state(batch) in self._ended

    def is_whole(self, batch: Mapping[str, object]) -> bool:
        """Whether the vendor worked on each line of an ended batch, so that one without a result may be billed."""
        return self._state(batch) in self._whole

    def total_of(self, batch: Mapping[str, object]) -> int:
        """Its lines, as far as it says; at least 1."""
        total = mapping_at(batch, "request_counts").get("total")
        return total if isinstance(total, int) and total > 0 else 1

    def mark_of(self, batch: Mapping[str, object]) -> str:
        """The mark that `marked` put into it."""
        return as_text(mapping_at(batch, "metadata").get(_MARK))

    def shown(self, batch: JsonObject) -> JsonObject:
        """The batch as its owner sees it."""
        return batch

    def _state(self, batch: Mapping[str, object]) -> str:
        return as_text(batch.get("status"))

    # -- its results -----------------------------------------------------------------------------------------
    def result_files(self, batch: Mapping[str, object]) -> list[str]:
        """The files of its results."""
        return [file for name in self._result_files if (file := as_text(batch.get(name)))]

    def result_paths(self, id: str, batch: Mapping[str, object]) -> list[str]:
        """Where its results are."""
        return [self.content(file) for file in self.result_files(batch)]

    def content(self, file: str) -> str:
        """Where the content of a file is."""
        return f"/files/{file}/content"

    def result(self, line: Mapping[str, object]) -> tuple[str, JsonObject]:
        """The name of a line of the results, and the answer in it; {} for none."""
        return as_text(line.get("custom_id")), dict(mapping_at(mapping_at(line, "response"), "body"))

    # -- making one ------------------------------------------------------------------------------------------
    def file_of(self, uploaded: Mapping[str, object]) -> str:
        """The id of an uploaded file, "" for none."""
        return as_text(uploaded.get("id"))

    def job(self, body: JsonObject, model: str) -> BatchJob:
        """What a body asks for; `model` is that of the path. Raises GatewayProblem."""
        if unknown := set(body) - self._fields:
            raise invalid(f"the field {sorted(unknown)[0]!r:.60} of a batch is not passed on")
        if not isinstance(body.get("metadata"), dict | None):
            raise invalid("`metadata` must be an object")
        return self._job(body)

    def _job(self, body: JsonObject) -> BatchJob:
        return BatchJob(as_text(body.get("input_file_id")), as_text(body.get("endpoint")))

    def marked(self, body: JsonObject, model: str, mark: str) -> JsonObject:
        """The body as it goes out, for the model that it means by the vendor's own name."""
        return {**body, "metadata": {**(body.get("metadata") or {}), _MARK: mark}}

    # -- lists -------------------------------------------------------------------------------------------------
    def own_page(self, query: Mapping[str, str]) -> OwnPage:
        """The page that a user asks for."""
        return OwnPage(min(whole_number(query.get("limit", "")) or 20, _PAGE), query.get("after", ""))

    def vendor_page(self, query: Mapping[str, str], cursor: str) -> dict[str, str]:
        """The query for a page of the vendor's list, the first one for the cursor ""."""
        return {**query, "limit": str(_PAGE), **({"after": cursor} if cursor else {})}

    def listed(self, page: Mapping[str, object]) -> list[JsonObject]:
        """What is in a page."""
        return [dict(item) for item in mappings_in(page.get("data"))]

    def following(self, page: Mapping[str, object], cursor: str) -> str:
        """The cursor of the page behind one, "" at the end."""
        listed = self.listed(page)
        return as_text(listed[-1].get("id")) if listed and page.get("has_more") else ""

    def as_list(self, items: list[JsonObject], page: OwnPage, *, more: bool) -> JsonObject:
        """The page for the user."""
        ends = {"first_id": items[0]["id"] if items else None, "last_id": items[-1]["id"] if items else None}
        return {"object": "list", "data": items, "has_more": more and bool(items), **ends}


class _Messages(BatchShape):
    """Anthropic's: made with its requests, and nothing in it can be marked."""

    api: Api = "messages"
    root = "/v1/messages/batches"

    def has_ended(self, batch: Mapping[str, object]) -> bool:
        return batch.get("processing_status") == "ended"

    def is_whole(self, batch: Mapping[str, object]) -> bool:
        return True  # what was not worked on has a line that says so

    def shown(self, batch: JsonObject) -> JsonObject:
        """With its results at the gateway: what asks for them sends the user's token there."""
        if batch.get("results_url"):
            batch["results_url"] = f"{self.path(self.id_of(batch))}/results"
        return batch

    def result_files(self, batch: Mapping[str, object]) -> list[str]:
        return []

    def result_paths(self, id: str, batch: Mapping[str, object]) -> list[str]:
        return [f"{self.path(id)}/results"] if batch.get("results_url") else []

    def result(self, line: Mapping[str, object]) -> tuple[str, JsonObject]:
        return as_text(line.get("custom_id")), dict(mapping_at(mapping_at(line, "result"), "message"))

    def own_page(self, query: Mapping[str, str]) -> OwnPage:
        return super().own_page(query)._replace(after=query.get("after_id", ""))

    def vendor_page(self, query: Mapping[str, str], cursor: str) -> dict[str, str]:
        return {**query, "limit": str(_PAGE), **({"after_id": cursor} if cursor else {})}

    def as_list(self, items: list[JsonObject], page: OwnPage, *, more: bool) -> JsonObject:
        answer = super().as_list(items, page, more=more)
        del answer["object"]
        return answer


class _Mistral(BatchShape):
    """Mistral's: a job names the model of its file, and pages have numbers."""

    root = "/batch/jobs"
    file_hours = None
    _fields = frozenset({"input_files", "model", "endpoint", "metadata", "timeout_hours"})
    _ended = frozenset({"SUCCESS", "FAILED", "TIMEOUT_EXCEEDED", "CANCELLED"})
    _whole = frozenset({"SUCCESS"})
    _result_files = ("output_file", "error_file")

    def total_of(self, batch: Mapping[str, object]) -> int:
        return super().total_of({"request_counts": {"total": batch.get("total_requests")}})

    def _job(self, body: JsonObject) -> BatchJob:
        files, hours = body.get("input_files"), body.get("timeout_hours")
        if not isinstance(files, list) or len(files) != 1:
            raise invalid("`input_files` has one file")
        if hours is not None and not (type(hours) is int and 1 <= hours <= _MOST_HOURS):
            raise invalid(f"`timeout_hours` must be a whole number from 1 to {_MOST_HOURS}")
        if not (model := as_text(body.get("model"))):
            raise invalid("`model` is missing")
        return BatchJob(as_text(files[0]), as_text(body.get("endpoint")), model)

    def marked(self, body: JsonObject, model: str, mark: str) -> JsonObject:
        return {**super().marked(body, model, mark), "model": model}

    def own_page(self, query: Mapping[str, str]) -> OwnPage:
        limit = min(whole_number(query.get("page_size", "")) or _PAGE, _PAGE)
        return OwnPage(limit, skip=(whole_number(query.get("page", "")) or 0) * limit)

    def vendor_page(self, query: Mapping[str, str], cursor: str) -> dict[str, str]:
        return {**query, "page_size": str(_PAGE), "page": cursor or "0"}

    def following(self, page: Mapping[str, object], cursor: str) -> str:
        return str(int(cursor or 0) + 1) if self.listed(page) else ""

    def as_list(self, items: list[JsonObject], page: OwnPage, *, more: bool) -> JsonObject:
        return {"object": "list", "data": items, "total": page.skip + len(items) + more}


class _Gemini(BatchShape):
    """Gemini's: a long-running operation, whose `displayName` is all that can be marked in it."""

    api: Api = "gemini"
    root = "/v1beta/batches"
    file_hours = 48.0
    _ended = frozenset({"SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})
    _whole = frozenset({"SUCCEEDED", "PARTIALLY_SUCCEEDED", ""})

    def id_of(self, batch: Mapping[str, object]) -> str:
        return as_text(batch.get("name")).removeprefix("batches/")

    def has_ended(self, batch: Mapping[str, object]) -> bool:
        return batch.get("done") is True or super().has_ended(batch)

    def is_whole(self, batch: Mapping[str, object]) -> bool:
        return super().is_whole(batch) and not (self._state(batch) == "" and batch.get("error"))

    def total_of(self, batch: Mapping[str, object]) -> int:
        total = mapping_at(mapping_at(batch, "metadata"), "batchStats").get("requestCount")  # int64: a text
        return super().total_of({"request_counts": {"total": whole_number(str(total))}})

    def mark_of(self, batch: Mapping[str, object]) -> str:
        found = _NAME_WITH_MARK.fullmatch(as_text(mapping_at(batch, "metadata").get("displayName")))
        return found[2] if found else ""

    def shown(self, batch: JsonObject) -> JsonObject:
        """With the name that its owner gave it."""
        metadata = batch.get("metadata")
        if isinstance(metadata, dict):
            found = _NAME_WITH_MARK.fullmatch(as_text(metadata.get("displayName")))
            if found:
                batch["metadata"] = {**metadata, "displayName": found[1]}
        return batch

    def _state(self, batch: Mapping[str, object]) -> str:
        return as_text(mapping_at(batch, "metadata").get("state")).rpartition("STATE_")[2]

    def result_files(self, batch: Mapping[str, object]) -> list[str]:
        output = mapping_at(mapping_at(batch, "metadata"), "output") or mapping_at(batch, "response")
        file = as_text(output.get("responsesFile")).removeprefix("files/")
        return [file] if file else []

    def content(self, file: str) -> str:
        return f"/download/v1beta/files/{quote(file, safe='')}:download?alt=media"

    def result(self, line: Mapping[str, object]) -> tuple[str, JsonObject]:
        return as_text(line.get("key")), dict(mapping_at(line, "response"))

    def file_of(self, uploaded: Mapping[str, object]) -> str:
        return as_text(mapping_at(uploaded, "file").get("name")).removeprefix("files/")

    def job(self, body: JsonObject, model: str) -> BatchJob:
        batch = body.get("batch")
        batch = in_camel_case(batch) if isinstance(batch, dict) else {}
        input = batch.get("inputConfig")
        input = in_camel_case(input) if isinstance(input, dict) else {}
        if "requests" in input:
            raise invalid(
                "requests within a batch have no names: upload them as a file (`inputConfig.fileName`)"
            )
        if set(body) != {"batch"} or set(batch) - {"displayName", "inputConfig"} or set(input) != {"fileName"}:
            raise invalid("a batch has `displayName`, and `inputConfig` with a `fileName`, and nothing else")
        name = batch.get("displayName", "")
        if not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise invalid(f"`displayName` is a text of {_LONGEST_NAME} characters at most")
        body["batch"] = {"displayName": name, "inputConfig": input}
        return BatchJob(as_text(input["fileName"]).removeprefix("files/"), "generateContent", model)

    def marked(self, body: JsonObject, model: str, mark: str) -> JsonObject:
        batch = body["batch"]
        return {"batch": {**batch, "displayName": f"{batch['displayName']} [po:{mark}]"}}

    def own_page(self, query: Mapping[str, str]) -> OwnPage:
        limit = min(whole_number(query.get("pageSize", "")) or _PAGE, _PAGE)
        return OwnPage(limit, skip=whole_number(query.get("pageToken", "")) or 0)

    def vendor_page(self, query: Mapping[str, str], cursor: str) -> dict[str, str]:
        return {"pageSize": str(_PAGE), **({"pageToken": quote(cursor, safe="")} if cursor else {})}

    def listed(self, page: Mapping[str, object]) -> list[JsonObject]:
        return [dict(item) for item in mappings_in(page.get("operations"))]

    def following(self, page: Mapping[str, object], cursor: str) -> str:
        return as_text(page.get("nextPageToken"))

    def as_list(self, items: list[JsonObject], page: OwnPage, *, more: bool) -> JsonObject:
        following = {"nextPageToken": str(page.skip + len(items))} if more and items else {}
        return {"operations": items, **following}


SHAPES: Mapping[Wire, BatchShape] = {
    "openai": BatchShape(), "chat": BatchShape(), "anthropic": _Messages(), "mistral": _Mistral(), "gemini": _Gemini(),
}  # fmt: skip
"""The shape of each wire; `chat` has no batches."""
