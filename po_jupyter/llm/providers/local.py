"""The provider for the embedded model: Chat Completions to the one local server that all workers share.

`local:smollm2-135m` is a real model of demo quality; `local:/path/to/model.gguf` is any GGUF file. The server is
run elsewhere: `endpoint(model)` of the context resolves it, and starts it when it must.

A schema is enforced by llama.cpp's grammar. A model of this size does not find the end of a text or a list by
itself: with an unbounded one it writes until `max_tokens`, and the JSON is cut (0 of 5 valid, against 5
of 5 with bounds). So for this provider strings and lists without a bound get one, in a copy of the schema; the
answer is validated against the schema as it was written. The model does not see the grammar, so the schema is
added to the last message as well. A light penalty on repetition keeps it from writing one word
for ever. Free text that is cut at `max_tokens` is an answer here: it seldom stops before.

The same server makes vectors (embeddings) with any of its models; one made for that, as a GGUF file, does it well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from po_jupyter.errors import ModelUnavailable
from po_jupyter.llm.chat import Provider
from po_jupyter.llm.providers.compatible.chat_completions import ChatCompletions
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.specs import Resolver
from po_jupyter.llm.wire.http import Http
from po_jupyter.model.values.json import JsonObject

MAX_LENGTH = 120  # characters: some 30 tokens, half a second
MAX_ITEMS = 5
MAX_SCHEMA_TEXT = (
    2000  # characters of a schema that goes into the prompt; a longer one would crowd out the prompt
)
REPEAT_PENALTY = 1.1
MAX_TOKENS = 400  # when a request has no limit: about five seconds, and no endless answer
TIMEOUT = 600.0  # seconds; requests wait in the server's queue for one of its few slots


def make(context: ProviderContext) -> Provider:
    """The provider of a context. Raises ModelUnavailable where no server of an embedded model is run."""
    if context.local is None:
        raise ModelUnavailable(
            "nobody runs a local model here",
            hint="Run the pipeline in an orchestrator: `po start`, or a notebook.",
        )
    return local_provider(context.local, context.http)


def local_provider(endpoint: Resolver, http: Http) -> ChatCompletions:
    """The provider `local`, on a resolver that finds (or starts) the server of a model."""
    return ChatCompletions(
        endpoint, http, name="local", key_env="", timeout=TIMEOUT, adapt=_adapt, keep_cut_text=True
    )


def _adapt(body: JsonObject) -> None:
    """Bound a request body and put its schema into the last message, in place."""
    body.setdefault("max_tokens", MAX_TOKENS)
    body.setdefault("repeat_penalty", REPEAT_PENALTY)
    answer = body.get("response_format", {}).get("json_schema")
    if answer is None:
        return
    text = json.dumps(answer["schema"], ensure_ascii=False)
    if len(text) <= MAX_SCHEMA_TEXT and body["messages"] and isinstance(body["messages"][-1]["content"], str):
        body["messages"][-1]["content"] += f"\n\nAnswer with JSON that fits this JSON Schema:\n{text}"
    answer["schema"] = bounded(answer["schema"])


def bounded(schema: object) -> object:
    """A copy of a JSON Schema in which no string or list can be longer than the defaults above.

    Bounds that are there stay, except that a default is never below a `minLength` or `minItems`. Objects are
    closed (`additionalProperties: false`) unless the schema says something about it; `pattern` and `format`
    bound a string by themselves. Every branch of `anyOf`, `oneOf`, `allOf` and `$defs` is bounded too.
    """
    if isinstance(schema, list):
        return [bounded(inner) for inner in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy: JsonObject = {}
    for keyword, value in schema.items():
        if keyword in ("properties", "$defs", "definitions", "patternProperties") and isinstance(value, dict):
            copy[keyword] = {name: bounded(inner) for name, inner in value.items()}
        elif keyword in ("items", "prefixItems", "anyOf", "oneOf", "allOf", "additionalProperties", "not"):
            copy[keyword] = bounded(value)
        else:
            copy[keyword] = value
    if not {"enum", "const", "$ref"} & copy.keys():
        _set_bounds(copy)
    return copy


def _set_bounds(schema: JsonObject) -> None:
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if "string" in kinds and not {"pattern", "format"} & schema.keys():
        schema.setdefault("maxLength", max(MAX_LENGTH, _int(schema.get("minLength"))))
    if "array" in kinds or (kinds == [None] and "items" in schema):
        schema.setdefault("maxItems", max(MAX_ITEMS, _int(schema.get("minItems"))))
        schema.setdefault("items", {"type": "string", "maxLength": MAX_LENGTH})
    if ("object" in kinds or kinds == [None]) and schema.get("properties"):
        schema.setdefault("additionalProperties", False)


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
