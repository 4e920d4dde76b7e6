"""Inputs of batches: every line bounded and written anew, as a single call is."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from po_jupyter.hub.accounts.balances import Demand
from po_jupyter.hub.config import Wire
from po_jupyter.hub.problems import GatewayProblem, invalid
from po_jupyter.hub.wires.operations import Api
from po_jupyter.hub.wires.request_bounds import BoundedRequest, bound_request, read_json
from po_jupyter.model.values.json import JsonObject

_MOST_LINES = 100_000
_NO_BATCH = "a batch has `requests`, a list of objects, and nothing else"
_HEAD = re.compile(rb'\s*\{\s*"requests"\s*:\s*\[')
_SIGN = re.compile(rb'[\[\]{}]|"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # a whole string is one
_AFTER = re.compile(rb"\s*(?:,|(?P<end>\]\s*\}\s*\Z))")
_ENDPOINTS: dict[str, Api] = {"/v1/chat/completions": "chat", "/v1/responses": "responses"}
# The API of a line's request, and the names of its own name and of the request.
_ROWS: dict[Wire, tuple[Api, str, str]] = {
    "mistral": ("chat", "custom_id", "body"), "gemini": ("gemini", "key", "request"),
}  # fmt: skip
_ENDPOINT_OF_ROWS: dict[Wire, str] = {"mistral": "/v1/chat/completions", "gemini": "generateContent"}

Prepare = Callable[[BoundedRequest], tuple[Demand, bytes]]
Worst = Callable[[str, int, int], int | None]


@dataclass(frozen=True, slots=True)
class BatchInput:
    """The input of a batch as it goes out: `data`, its `lines`, and the most that they take by model."""

    data: bytes
    lines: int
    demands: tuple[Demand, ...]
    counts: tuple[int, ...]  # lines of each demand
    endpoint: str = ""


def bound_file(data: bytes, fields: tuple[str, ...], prepare: Prepare) -> BatchInput:
    """The input of a batch of OpenAI's, from its file. Blocks. Raises GatewayProblem."""
    endpoint = ""

    def as_row(id: str, url: str, body: JsonObject) -> JsonObject:
        return {"custom_id": id, "method": "POST", "url": url, "body": body}

    def requests() -> Iterator[tuple[BoundedRequest, Callable[[JsonObject], JsonObject]]]:
        nonlocal endpoint
        for n, text in enumerate(filter(None, map(bytes.strip, io.BytesIO(data))), 1):
            row = _row(text, n)
            custom_id, url, body = row.get("custom_id"), row.get("url"), row.get("body")
            if row.get("method") != "POST" or not isinstance(url, str) or url not in _ENDPOINTS:
                raise invalid(f"line {n}: `method` is POST and `url` one of {', '.join(_ENDPOINTS)}")
            if url != (endpoint := endpoint or url):
                raise invalid(f"line {n}: all lines have one `url`")
            if not isinstance(custom_id, str) or not isinstance(body, dict):
                raise invalid(f"line {n}: `custom_id` and `body` are needed")
            yield bound_request(_ENDPOINTS[url], body, fields=fields), partial(as_row, custom_id, url)

    bounded = _bound(requests(), prepare, b"\n")
    return BatchInput(bounded.data, bounded.lines, bounded.demands, bounded.counts, endpoint)


def bound_requests(raw: bytes, fields: tuple[str, ...], prepare: Prepare) -> BatchInput:
    """The input of a batch of Anthropic's, from the body that creates it. Blocks. Raises GatewayProblem."""

    def as_row(id: str, body: JsonObject) -> JsonObject:
        return {"custom_id": id, "params": body}

    def requests() -> Iterator[tuple[BoundedRequest, Callable[[JsonObject], JsonObject]]]:
        for n, text in enumerate(_elements(raw), 1):
            row = _row(text, n)
            if set(row) != {"custom_id", "params"}:
                raise invalid(f"request {n}: it has `custom_id` and `params`")
            if not isinstance(row["custom_id"], str) or not isinstance(row["params"], dict):
                raise invalid(f"request {n}: `custom_id` is a text, `params` an object")
            request = bound_request("messages", row["params"], fields=fields)
            yield request, partial(as_row, row["custom_id"])

    bounded = _bound(requests(), prepare, b",")
    data = b'{"requests":[' + bounded.data + b"]}"
    return BatchInput(data, bounded.lines, bounded.demands, bounded.counts)


def bound_rows(
    wire: Wire,
    data: bytes,
    fields: tuple[str, ...],
    prepare: Prepare,
    *,
    refs: Sequence[str],
    limit: int,
    worst: Worst,
) -> BatchInput:
    """The input of a batch of Mistral's or Gemini's, from its file. Its model is named when the batch is made: each of
    `refs` has a demand for all lines, at most `worst(ref, input, output)` nano-dollars. `limit` is that of a line
    without one. Blocks. Raises GatewayProblem."""
    api, key, inner = _ROWS[wire]
    model = refs[0].partition(":")[2]

    def as_row(id: str, body: JsonObject) -> JsonObject:
        return {key: id, inner: {name: value for name, value in body.items() if name != "model"}}

    def requests() -> Iterator[tuple[BoundedRequest, Callable[[JsonObject], JsonObject]]]:
        for n, text in enumerate(filter(None, map(bytes.strip, io.BytesIO(data))), 1):
            row = _row(text, n)
            id, body = row.get(key), row.get(inner)
            if set(row) != {key, inner} or not isinstance(id, str) or not isinstance(body, dict):
                raise invalid(f"line {n}: it has `{key}`, a text, and `{inner}`, an object, and nothing else")
            if "model" in body:
                raise invalid(f"line {n}: the model is named when the batch is made, and by no line")
            body |= {"model": model} if api == "chat" else {}
            request = bound_request(api, body, path_model=model, fields=fields)
            request.limit = limit if request.limit is None else request.limit
            yield request, partial(as_row, id)

    bounded = _bound(requests(), prepare, b"\n")
    (most,) = bounded.demands
    demands = tuple(
        replace(most, model=ref, nano=worst(ref, most.input_tokens, most.output_tokens)) for ref in refs
    )
    return BatchInput(
        bounded.data, bounded.lines, demands, (bounded.lines,) * len(demands), _ENDPOINT_OF_ROWS[wire]
    )


def _bound(
    requests: Iterable[tuple[BoundedRequest, Callable[[JsonObject], JsonObject]]],
    prepare: Prepare,
    between: bytes,
) -> BatchInput:
    lines: list[bytes] = []
    sums: dict[str, Demand] = {}
    counts: dict[str, int] = {}
    for request, wrapped in requests:
        if request.stream:
            raise invalid("a line of a batch cannot be a stream")
        if len(lines) >= _MOST_LINES:
            raise invalid(f"a batch has {_MOST_LINES:,} lines at most")
        demand, _ = prepare(request)
        lines.append(json.dumps(wrapped(request.body), separators=(",", ":")).encode())
        sums[demand.model] = _plus(sums.get(demand.model), demand)
        counts[demand.model] = counts.get(demand.model, 0) + 1
    if not lines:
        raise invalid("the batch is empty")
    return BatchInput(between.join(lines), len(lines), tuple(sums.values()), tuple(counts[ref] for ref in sums))


def _plus(sum: Demand | None, demand: Demand) -> Demand:
    if sum is None:
        return demand
    nano = None if sum.nano is None or demand.nano is None else sum.nano + demand.nano
    return Demand(
        sum.user, sum.groups, sum.model, sum.input_tokens + demand.input_tokens,
        sum.output_tokens + demand.output_tokens, nano, True,
    )  # fmt: skip


def _elements(raw: bytes) -> Iterator[bytes]:
    """The objects in the list of the body `{"requests": [...]}`, as they stand there: each is parsed alone, so that
    nothing larger ever is. Raises GatewayProblem for what is no such body."""
    head = _HEAD.match(raw)
    if head is None:
        raise invalid(_NO_BATCH)
    at, depth, begin = head.end(), 0, 0
    while (found := _SIGN.search(raw, at)) is not None:
        sign = found[0]
        if depth == 0 and raw[at : found.start()].strip():
            raise invalid(_NO_BATCH)
        at = found.end()
        if sign in (b"{", b"["):
            begin = found.start() if depth == 0 else begin
            depth += 1
        elif depth == 0:
            raise invalid(_NO_BATCH)
        elif sign in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                yield raw[begin:at]
                after = _AFTER.match(raw, at)
                if after is None:
                    raise invalid(_NO_BATCH)
                if after["end"] is not None:
                    return
                at = after.end()
    raise invalid(_NO_BATCH)


def _row(text: bytes, n: int) -> JsonObject:
    try:
        return read_json(text)
    except GatewayProblem as problem:
        raise invalid(f"line {n}: {problem.message}", problem.status) from None
