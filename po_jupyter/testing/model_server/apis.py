"""The model server's other APIs: Responses, Messages and generateContent, whole and streamed; embeddings.

The same `Reply` means the same in each; `finish` is in Chat Completions' words and `usage`, when given, in
the API's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from po_jupyter.llm.providers.fake import word_vector
from po_jupyter.llm.structured.example_value import example_value
from po_jupyter.model.values.json import JsonObject
from po_jupyter.testing.model_server.aws_frames import CONTENT_TYPE, event_frame
from po_jupyter.testing.model_server.wire import (
    Recorded,
    Reply,
    chunked,
    completion,
    dumps,
    last_text,
    pieces_of,
    served_tier,
    stream_parts,
)

_OF_VECTORS = {
    "embeddings": "vectors", "embedContent": "gemini_vectors", "batchEmbedContents": "gemini_vectors_of_many",
    "predict": "predicted_vectors",
}  # fmt: skip
_ANTHROPIC_ENDS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
_GEMINI_ENDS = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


def api_of(path: str) -> str | None:
    """The API that a path belongs to; None: none of them."""
    if path.endswith("/chat/completions"):
        return "chat"
    if path.endswith(("/embeddings", ":embedContent", ":batchEmbedContents", ":predict")):
        return _OF_VECTORS[path.replace(":", "/").rpartition("/")[2]]
    if path.endswith(("/responses", "/messages")):
        return path.rpartition("/")[2]
    if path.endswith(("/converse", "/converse-stream")):
        return "converse"
    return "gemini" if path.endswith((":generateContent", ":streamGenerateContent")) else None


def streams(request: Recorded) -> bool:
    """Whether the request asks for a stream."""
    return bool(request.body.get("stream")) or request.path.endswith(
        (":streamGenerateContent", "/converse-stream")
    )


def whole(request: Recorded, reply: Reply) -> JsonObject:
    """The body of an answer that is not streamed."""
    return _WHOLE.get(api_of(request.path) or "", completion)(request, reply)


def stream(request: Recorded, reply: Reply, headers: Mapping[str, str]) -> list[bytes]:
    """The head of a streamed answer, then one HTTP chunk for each event."""
    events = _EVENTS.get(api_of(request.path) or "")
    if api_of(request.path) == "converse":
        frames = [event_frame(event) for event in _converse_events(request, reply)]
        return chunked(frames, headers, content_type=CONTENT_TYPE)
    if events is None:
        return stream_parts(request, reply, headers)
    return chunked([_event(data) for data in events(request, reply)], headers)


def _event(data: JsonObject) -> bytes:
    name = f"event: {data['type']}\n".encode() if "type" in data else b""
    return name + b"data: " + dumps(data) + b"\n\n"


def _text(request: Recorded, reply: Reply, schema: JsonObject | None, as_json: bool) -> str:
    if reply.text is not None:
        return reply.text
    if schema is not None:
        return json.dumps(example_value(schema))
    return json.dumps({"echo": request.prompt}) if as_json else f"echo: {request.prompt}"


def _token_counts(request: Recorded, text: str) -> tuple[int, int]:
    return len(request.prompt.split()), len(text.split())


# -- Responses ------------------------------------------------------------------------------------------
def _response(request: Recorded, reply: Reply) -> JsonObject:
    shape = (request.body.get("text") or {}).get("format") or {}
    text = _text(request, reply, shape.get("schema"), shape.get("type") == "json_object")
    input_tokens, output_tokens = _token_counts(request, text)
    content = {"type": "output_text", "text": text, "annotations": []}
    message = {
        "type": "message",
        "id": f"msg_{request.n}",
        "status": "completed",
        "role": "assistant",
        "content": [content],
    }
    cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(reply.finish)
    return {
        "id": f"resp_{request.n}",
        "object": "response",
        "created_at": int(request.at),
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": cut} if cut else None,
        "model": request.body.get("model", "fake"),
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        **served_tier(request),
        "usage": reply.usage
        or {
            "input_tokens": input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input_tokens + output_tokens,
        },
    }


def _response_events(request: Recorded, reply: Reply) -> list[JsonObject]:
    done = _response(request, reply)
    (item,) = done["output"]
    position = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    started = {**done, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    events: list[JsonObject] = [{"type": "response.created", "response": started}]
    events += [
        {"type": "response.output_text.delta", **position, "delta": piece, "logprobs": []}
        for piece in pieces_of(item["content"][0]["text"])
    ]
    events.append({"type": f"response.{done['status']}", "response": done})
    return [{**event, "sequence_number": n} for n, event in enumerate(events)]


# -- Messages -------------------------------------------------------------------------------------------
def _message(request: Recorded, reply: Reply) -> JsonObject:
    schema = ((request.body.get("output_config") or {}).get("format") or {}).get("schema")
    text = _text(request, reply, schema, False)
    input_tokens, output_tokens = _token_counts(request, text)
    return {
        "id": f"msg_{request.n}",
        "type": "message",
        "role": "assistant",
        "model": request.body.get("model", "fake"),
        "content": [{"type": "text", "text": text}],
        "stop_reason": _ANTHROPIC_ENDS.get(reply.finish, reply.finish),
        "stop_sequence": None,
        "usage": reply.usage or {"input_tokens": input_tokens, "output_tokens": output_tokens},
    }


def _message_events(request: Recorded, reply: Reply) -> list[JsonObject]:
    done = _message(request, reply)
    started = {**done, "content": [], "stop_reason": None, "usage": {**done["usage"], "output_tokens": 1}}
    events: list[JsonObject] = [
        {"type": "message_start", "message": started},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]
    events += [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
        for piece in pieces_of(done["content"][0]["text"])
    ]
    ended = {"stop_reason": done["stop_reason"], "stop_sequence": None}
    return [
        *events,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": done["usage"]},
        {"type": "message_stop"},
    ]


# -- generateContent ------------------------------------------------------------------------------------
def _generated(request: Recorded, reply: Reply) -> JsonObject:
    config = request.body.get("generationConfig") or {}
    as_json = config.get("responseMimeType") == "application/json"
    text = _text(request, reply, config.get("responseJsonSchema"), as_json)
    input_tokens, output_tokens = _token_counts(request, text)
    finish = _GEMINI_ENDS.get(reply.finish, reply.finish)
    return {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": finish, "index": 0}
        ],
        "usageMetadata": reply.usage
        or {
            "promptTokenCount": input_tokens,
            "candidatesTokenCount": output_tokens,
            "totalTokenCount": input_tokens + output_tokens,
        },
        "modelVersion": request.path.rpartition("/")[2].partition(":")[0],
        "responseId": f"gen-{request.n}",
    }


def _generated_events(request: Recorded, reply: Reply) -> list[JsonObject]:
    done = _generated(request, reply)
    (candidate,) = done["candidates"]
    pieces = pieces_of(candidate["content"]["parts"][0]["text"])
    events = []
    for n, piece in enumerate(pieces):
        chunk = {"content": {"role": "model", "parts": [{"text": piece}]}, "index": 0}
        if n == len(pieces) - 1:
            chunk["finishReason"] = candidate["finishReason"]
        events.append({**done, "candidates": [chunk]})
    return events


# -- Converse ------------------------------------------------------------------------------------------
_CONVERSE_ENDS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "content_filtered"}


def _converse(request: Recorded, reply: Reply) -> JsonObject:
    format = ((request.body.get("outputConfig") or {}).get("textFormat") or {}).get("structure") or {}
    schema = (format.get("jsonSchema") or {}).get("schema")
    text = _text(request, reply, json.loads(schema) if schema else None, False)
    block: JsonObject = {"text": text}
    tools = (request.body.get("toolConfig") or {}).get("tools") or []
    forced = ((request.body.get("toolConfig") or {}).get("toolChoice") or {}).get("tool")
    finish = _CONVERSE_ENDS.get(reply.finish, reply.finish)
    if forced and finish == "end_turn":
        spec = next(tool["toolSpec"] for tool in tools if tool["toolSpec"]["name"] == forced["name"])
        value = json.loads(reply.text) if reply.text is not None else example_value(spec["inputSchema"]["json"])
        block = {"toolUse": {"toolUseId": f"tooluse_{request.n}", "name": spec["name"], "input": value}}
        finish = "tool_use"
    input_tokens, output_tokens = _token_counts(request, text)
    return {
        "output": {"message": {"role": "assistant", "content": [block]}},
        "stopReason": finish,
        "usage": reply.usage
        or {
            "inputTokens": input_tokens,
            "outputTokens": output_tokens,
            "totalTokens": input_tokens + output_tokens,
        },
        "metrics": {"latencyMs": 1},
    }


def _converse_events(request: Recorded, reply: Reply) -> list[JsonObject]:
    done = _converse(request, reply)
    (block,) = done["output"]["message"]["content"]
    events: list[JsonObject] = [{"messageStart": {"role": "assistant"}}]
    use = block.get("toolUse")
    if use:
        start = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
        events.append({"contentBlockStart": {"contentBlockIndex": 0, "start": start}})
    for piece in pieces_of(json.dumps(use["input"]) if use else block["text"]):
        delta = {"toolUse": {"input": piece}} if use else {"text": piece}
        events.append({"contentBlockDelta": {"contentBlockIndex": 0, "delta": delta}})
    return [
        *events,
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": done["stopReason"]}},
        {"metadata": {"usage": done["usage"], "metrics": done["metrics"]}},
    ]


# -- embeddings ----------------------------------------------------------------------------------------
def _numbers(request: Recorded, reply: Reply) -> list[float]:
    """The numbers of a scripted vector (a JSON list as text), or those of the words."""
    numbers: list[float] = word_vector(request.prompt) if reply.text is None else json.loads(reply.text)
    return numbers


def _embedding(request: Recorded, reply: Reply) -> JsonObject:
    tokens = len(request.prompt.split())
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": _numbers(request, reply)}],
        "model": request.body.get("model", "fake"),
        "usage": reply.usage or {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _embedded_content(request: Recorded, reply: Reply) -> JsonObject:
    usage = reply.usage or {"promptTokenCount": len(request.prompt.split())}
    return {"embedding": {"values": _numbers(request, reply)}, "usageMetadata": usage}


def _embedded_contents(request: Recorded, reply: Reply) -> JsonObject:
    """Without a usage, as Google's."""
    texts = (last_text({"content": one.get("content")}) for one in request.body.get("requests") or ())
    return {"embeddings": [{"values": word_vector(text)} for text in texts]}


def _prediction(request: Recorded, reply: Reply) -> JsonObject:
    statistics = reply.usage or {"token_count": len(request.prompt.split()), "truncated": False}
    return {"predictions": [{"embeddings": {"values": _numbers(request, reply), "statistics": statistics}}]}


_WHOLE: Mapping[str, Callable[[Recorded, Reply], JsonObject]] = {
    "responses": _response,
    "messages": _message,
    "gemini": _generated,
    "converse": _converse,
    "vectors": _embedding,
    "gemini_vectors": _embedded_content,
    "gemini_vectors_of_many": _embedded_contents,
    "predicted_vectors": _prediction,
}
_EVENTS: Mapping[str, Callable[[Recorded, Reply], list[JsonObject]]] = {
    "responses": _response_events,
    "messages": _message_events,
    "gemini": _generated_events,
}
