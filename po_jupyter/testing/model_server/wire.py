"""The values of the model server: requests, replies, and their bytes on the wire."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TypeAlias

from po_jupyter.llm.providers.fake import made_logprobs
from po_jupyter.llm.structured.example_value import example_value
from po_jupyter.model.values.json import JsonObject


@dataclass(slots=True)
class Reply:
    """One answer, or one fault. Times in seconds.

    `text` None means: the server's default. `latency` is the wait before the first byte, None for the server's
    own. `confidence` is the probability of a label, where log probabilities are asked for. `gap` is the pause between
    streamed chunks, `stall` a pause after the first. `cut` closes the connection after that many bytes of the response
    (0: at once). `body` replaces the whole body, with `content_type`. `error` is the message of an error status.
    """

    text: str | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    latency: float | None = None
    usage: JsonObject | None = None
    confidence: float = 0.9
    finish: str = "stop"
    gap: float = 0.0
    stall: float = 0.0
    cut: int | None = None
    body: bytes | None = None
    content_type: str | None = None
    error: str = "scripted fault"


Answer: TypeAlias = "str | Reply | JsonObject"
Answering: TypeAlias = "Answer | Callable[[JsonObject, int], Answer]"


def as_reply(answer: Answer) -> Reply:
    """A scripted answer as a Reply: a text is the answer's text, a mapping is answered as JSON text."""
    if isinstance(answer, Reply):
        return answer
    return Reply(answer if isinstance(answer, str) else json.dumps(answer))


@dataclass(slots=True)
class Recorded:
    """A request as it arrived. `hash` names its body; `answered_at` is when the last byte was written, or None.

    `aborted` turns true when the client went away before that.
    """

    n: int
    at: float
    path: str
    headers: dict[str, str]
    body: JsonObject
    hash: str
    answered_at: float | None = None
    aborted: bool = False

    @property
    def answered(self) -> bool:
        """True once the whole answer was written to the connection."""
        return self.answered_at is not None

    @property
    def prompt(self) -> str:
        """The content of the last message."""
        return last_text(self.body)


def completion(request: Recorded, reply: Reply) -> JsonObject:
    """A `chat.completion` object."""
    text = text_of(request, reply)
    return {
        "id": f"chatcmpl-{request.n}",
        "object": "chat.completion",
        "created": int(request.at),
        "model": request.body.get("model", "fake"),
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": reply.finish,
                **_logprobs(request, reply, text),
            }
        ],
        "usage": _usage(request, reply, text),
        **served_tier(request),
    }


def stream_parts(request: Recorded, reply: Reply, headers: Mapping[str, str]) -> list[bytes]:
    """The head of a streamed response, then one HTTP chunk for each server-sent event."""
    text = text_of(request, reply)
    pieces = pieces_of(text)
    base = {"id": f"chatcmpl-{request.n}", "object": "chat.completion.chunk", "created": int(request.at)}
    base["model"] = request.body.get("model", "fake")
    base |= served_tier(request)
    deltas: list[JsonObject] = [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    deltas += [{"delta": {"content": piece}, "finish_reason": None} for piece in pieces]
    deltas[-1] |= _logprobs(request, reply, text)
    deltas.append({"delta": {}, "finish_reason": reply.finish})
    chunks: list[JsonObject] = [{**base, "choices": [{"index": 0, **delta}]} for delta in deltas]
    if (request.body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**base, "choices": [], "usage": _usage(request, reply, text)})
    events = [b"data: " + dumps(chunk) + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]
    return chunked(events, headers)


def _logprobs(request: Recorded, reply: Reply, text: str) -> JsonObject:
    """`logprobs` of a choice, where they were asked for."""
    if not request.body.get("logprobs"):
        return {}
    content = [
        {"token": token, "logprob": logprob, "bytes": list(token.encode()), "top_logprobs": []}
        for token, logprob, _ in made_logprobs(text, reply.confidence)
    ]
    return {"logprobs": {"content": content, "refusal": None}}


def served_tier(request: Recorded) -> JsonObject:
    """`service_tier` of an answer: the one that was asked for, where one was."""
    tier = request.body.get("service_tier")
    return {} if tier is None else {"service_tier": "default" if tier == "auto" else tier}


def pieces_of(text: str) -> list[str]:
    """The words of a text, each with the space before it."""
    return [word if i == 0 else f" {word}" for i, word in enumerate(text.split(" "))]


def chunked(
    events: Sequence[bytes], headers: Mapping[str, str], *, content_type: str = "text/event-stream"
) -> list[bytes]:
    """The head of an event stream, then one HTTP chunk for each event."""
    opening = head(200, {**headers, "transfer-encoding": "chunked"}, None, content_type)
    framed = [f"{len(e):x}\r\n".encode() + e + b"\r\n" for e in events]
    framed[-1] += b"0\r\n\r\n"
    return [opening, *framed]


def text_of(request: Recorded, reply: Reply) -> str:
    """The text of the answer: scripted, a value of the schema, or an echo."""
    if reply.text is not None:
        return reply.text
    prompt = last_text(request.body)
    shape = request.body.get("response_format") or {}
    if shape.get("type") == "json_schema":
        return json.dumps(example_value(shape.get("json_schema", {}).get("schema", {})))
    if shape.get("type") == "json_object":
        return json.dumps({"echo": prompt})
    return f"echo: {prompt}"


def _usage(request: Recorded, reply: Reply, text: str) -> JsonObject:
    if reply.usage is not None:
        return dict(reply.usage)
    input_tokens = sum(len(str(m.get("content", "")).split()) for m in request.body.get("messages") or ())
    output_tokens = len(text.split())
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }


def last_text(body: JsonObject) -> str:
    """The text of the last turn in a request to any of the APIs."""
    turns = body.get("messages") or body.get("input") or body.get("contents") or body.get("instances")
    turns = turns or [body.get("content") or {}]
    if isinstance(turns, str):
        return turns
    if not isinstance(turns[-1], dict):  # texts to embed
        return str(turns[-1])
    content = turns[-1].get("content") or turns[-1].get("parts") or turns[-1].get("output") or ""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return str(content)


def head(
    status: int, headers: Mapping[str, str], length: int | None, content_type: str = "application/json"
) -> bytes:
    """Status line and headers; `length` None leaves the content length out."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", f"content-type: {content_type}"]
    if length is not None:
        lines.append(f"content-length: {length}")
    lines += [f"{k}: {v}" for k, v in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def dumps(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def read_log(path: str | os.PathLike[str] | None) -> list[Recorded]:
    """The requests of a `log` file, across every server that wrote to it. A cut last line is left out."""
    requests: list[Recorded] = []
    open_by_n: dict[int, Recorded] = {}
    if path is None or not Path(path).exists():
        return requests
    for line in Path(path).read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["event"] == "request":
            request = Recorded(row["n"], row["at"], row["path"], {}, row["body"], row["hash"])
            open_by_n[row["n"]] = request
            requests.append(request)
        elif row["n"] in open_by_n:
            open_by_n[row["n"]].answered_at = row["at"]
    return requests


def paid_twice(requests: Sequence[Recorded]) -> list[Recorded]:
    """Requests that came although the same body had been answered in full before they arrived."""
    answered: dict[str, float] = {}
    again: list[Recorded] = []
    for request in sorted(requests, key=lambda r: r.at):
        if request.at > answered.get(request.hash, float("inf")):
            again.append(request)
        if request.answered_at is not None:
            answered[request.hash] = min(request.answered_at, answered.get(request.hash, float("inf")))
    return again
