"""The embedded model: Chat Completions to the one local server that all workers share.

`local:smollm2-135m` is a real model of demo quality; `local:/path/to/model.gguf` is any GGUF file. Who runs the
server is not decided here: `endpoint(model)` says where it is, and starts it when it must.

A schema is enforced by llama.cpp's grammar. A model of this size does not find the end of a text or a list by
itself: asked for an unbounded one it writes until `max_tokens`, and the JSON is cut (0 of 5 valid, against 5
of 5 with bounds). So for this provider strings and lists without a bound get one, in a copy of the schema; the
answer is validated against the schema as it was written. The grammar alone does not tell the model what is
wanted, so the schema is added to the last message. A light penalty on repetition keeps it from writing one word
for ever. Free text that is cut at `max_tokens` is an answer here: it seldom stops before.
"""

from __future__ import annotations

import json
from typing import Any

from po_jupyter.llm.providers.compatible.chat_completions import ChatCompletions
from po_jupyter.llm.wire.exchange import Resolver
from po_jupyter.llm.wire.http import Http

MAX_LENGTH = 120  # characters: some 30 tokens, half a second
MAX_ITEMS = 5
MAX_TOLD = 2000  # characters of a schema that is told; a longer one would crowd out the prompt
REPEAT_PENALTY = 1.1
MAX_TOKENS = 400  # when a request has no limit: about five seconds, and no endless answer
TIMEOUT = 600.0  # seconds; requests wait in the server's queue for one of its few slots


def local_provider(endpoint: Resolver, http: Http) -> ChatCompletions:
    """The provider `local`, on a resolver that knows (or starts) the server of a model."""
    return ChatCompletions(
        endpoint, http, name="local", key_env="", timeout=TIMEOUT, adapt=_adapt, keep_cut_text=True
    )


def _adapt(body: dict[str, Any]) -> None:
    body.setdefault("max_tokens", MAX_TOKENS)
    body.setdefault("repeat_penalty", REPEAT_PENALTY)
    wanted = body.get("response_format", {}).get("json_schema")
    if wanted is None:
        return
    told = json.dumps(wanted["schema"], ensure_ascii=False)
    if len(told) <= MAX_TOLD and body["messages"] and isinstance(body["messages"][-1]["content"], str):
        body["messages"][-1]["content"] += f"\n\nAnswer with JSON that fits this JSON Schema:\n{told}"
    wanted["schema"] = bounded(wanted["schema"])


def bounded(schema: Any) -> Any:
    """A copy of a JSON Schema in which no string or list can be longer than the defaults above.

    Bounds that are there stay, except that a default is never below a `minLength` or `minItems`. Objects are
    closed (`additionalProperties: false`) unless the schema says something about it; `pattern` and `format`
    bound a string by themselves. Every branch of `anyOf`, `oneOf`, `allOf` and `$defs` is bounded too.
    """
    if isinstance(schema, list):
        return [bounded(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    copy: dict[str, Any] = {}
    for word, value in schema.items():
        if word in ("properties", "$defs", "definitions", "patternProperties") and isinstance(value, dict):
            copy[word] = {name: bounded(part) for name, part in value.items()}
        elif word in ("items", "prefixItems", "anyOf", "oneOf", "allOf", "additionalProperties", "not"):
            copy[word] = bounded(value)
        else:
            copy[word] = value
    if "enum" in copy or "const" in copy or "$ref" in copy:
        return copy
    kinds = copy.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "string" in kinds and not {"pattern", "format"} & copy.keys():
        copy.setdefault("maxLength", max(MAX_LENGTH, _int(copy.get("minLength"))))
    if "array" in kinds or (kinds == [None] and "items" in copy):
        copy.setdefault("maxItems", max(MAX_ITEMS, _int(copy.get("minItems"))))
        copy.setdefault("items", {"type": "string", "maxLength": MAX_LENGTH})
    if ("object" in kinds or kinds == [None]) and copy.get("properties"):
        copy.setdefault("additionalProperties", False)
    return copy


def _int(value: Any) -> int:
    return value if isinstance(value, int) else 0
