"""Requests read and bounded: the model, the most tokens in and out, and the body as it is sent on.

The body that goes out is written anew from what was read here, so the vendor reads the same: of a key that comes
twice, of several limits, of a number that is none, it never sees another one.

A bound of the input is the bytes of its text: no tokenizer makes more tokens than bytes. Images have bounds of their
own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from po_jupyter.hub.problems import invalid
from po_jupyter.hub.wires.operations import Api
from po_jupyter.hub.wires.request_fields import GEMINI_CONFIG, GEMINI_PARTS, PARTS, SERVICE_TIERS, TOOLS, TOP
from po_jupyter.llm.bounds import model_limit
from po_jupyter.llm.money.tokens import image_bound
from po_jupyter.llm.providers.compatible.family import OPENAI, QUIRKS, Quirks
from po_jupyter.model.values.json import JsonObject

MOST_OUTPUT = 10_000_000  # tokens: a larger limit is a mistake
_MOST_ANSWERS = 128
_BESIDE = 1000  # tokens that vendors add: instructions for tools and formats, turns
_PLAIN = Quirks()


@dataclass(slots=True)
class BoundedRequest:
    """A request that may be passed on. `limit` is of each of its `answers`, in tokens; None: it set none."""

    api: Api
    model: str
    body: JsonObject
    stream: bool
    limit: int | None
    answers: int
    images: int
    image_bytes: int

    def input_bound(self, ref: str, size: int) -> int:
        """The most tokens of the input, for a body of `size` bytes."""
        return size - self.image_bytes + self.images * image_bound(ref) + _BESIDE

    def set_model(self, ref: str) -> None:
        """Ask for this model and no other, whatever the request called it."""
        if self.api != "gemini":
            self.body["model"] = ref.partition(":")[2]

    def output_bound(self, ref: str, default: int) -> int:
        """The most tokens of all answers together. Puts a limit into the request where neither it nor the model has
        one that is known, and leaves one field of several."""
        limit = self.limit
        if limit is None and (limit := model_limit(ref)) is None:
            limit = default
            self._put_limit(ref, limit)
        elif self.limit is not None:
            self._put_limit(ref, limit)
        return limit * self.answers

    def _put_limit(self, ref: str, limit: int) -> None:
        provider, _, model = ref.partition(":")
        if self.api == "gemini":
            self.body.setdefault("generationConfig", {})["maxOutputTokens"] = limit
        elif self.api == "chat":
            quirks = OPENAI if provider in ("openai", "azure") else QUIRKS.get(provider, _PLAIN)
            own = bool(quirks.own_limit) and re.match(quirks.own_limit, model) is not None
            self.body["max_completion_tokens" if own else "max_tokens"] = limit
        else:
            self.body["max_output_tokens" if self.api == "responses" else "max_tokens"] = limit

    def ask_for_usage(self, provider: str) -> None:
        """Have a stream of Chat Completions say its usage."""
        quirks = OPENAI if provider == "openai" else QUIRKS.get(provider, _PLAIN)
        if self.stream and self.api == "chat" and quirks.stream_usage:
            options = self.body.get("stream_options")
            self.body["stream_options"] = {
                **(options if isinstance(options, dict) else {}), "include_usage": True,
            }  # fmt: skip

    def encoded(self) -> bytes:
        """The body as it goes out."""
        return json.dumps(self.body, separators=(",", ":")).encode()


def read_json(raw: bytes) -> JsonObject:
    """The JSON object in a body. Raises GatewayProblem: not JSON, too deep, or with numbers that JSON has not."""
    try:
        body = json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise invalid("the body is not JSON, or nested too deeply") from None
    if not isinstance(body, dict):
        raise invalid("the body must be a JSON object")
    return body


def _no_number(text: str) -> None:
    raise ValueError(text)


def bound_request(
    api: Api, body: JsonObject, *, path_model: str = "", stream: bool = False, fields: tuple[str, ...] = ()
) -> BoundedRequest:
    """The request in a body. `path_model` and `stream` are Gemini's, which has both in the path; `fields` may stand at
    the top beside those that are known. Raises GatewayProblem for what could not be counted."""
    try:
        if api == "gemini":
            body = _in_camel_case(body)
        _check_names(body, TOP[api].union(fields), "field")
        images = _Images(api)
        if api == "gemini":
            return _bound_gemini(body, path_model, stream, images)
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise invalid("`model` is missing")
        _check_tier(body)
        _check_tools(api, body)
        for name in ("messages", "input", "system"):
            images.read(body.get(name))
        limits = ("max_tokens", "max_completion_tokens") if api != "responses" else ("max_output_tokens",)
        limit = _smallest_limit(body, limits)
        if api == "messages":
            limit = _with_thinking(body, limit)
        answers = max(_count(body, "n", _MOST_ANSWERS), _count(body, "best_of", _MOST_ANSWERS))
        streams = body.get("stream")
        if streams not in (None, True, False):
            raise invalid("`stream` must be true or false")
        return BoundedRequest(api, model, body, bool(streams), limit, answers, images.count, images.size)
    except RecursionError:
        raise invalid("the body is nested too deeply") from None


def _bound_gemini(body: JsonObject, model: str, stream: bool, images: _Images) -> BoundedRequest:
    config = body.get("generationConfig")
    if config is None:
        config = {}
    if not isinstance(config, dict):
        raise invalid("`generationConfig` must be an object")
    if config:
        body["generationConfig"] = config = _in_camel_case(config)
        _check_names(config, GEMINI_CONFIG, "field of generationConfig")
    if config.get("responseModalities") not in (None, ["TEXT"], ["text"]):
        raise invalid("`responseModalities` other than TEXT are not passed on")
    for tool in _objects(body.get("tools"), "tools"):
        _check_names(_in_camel_case(tool), frozenset({"functionDeclarations"}), "tool")
    instruction = body.get("systemInstruction")
    images.read_gemini(_objects(body.get("contents"), "contents"))
    images.read_gemini([instruction] if isinstance(instruction, dict) else [])
    limit = _smallest_limit(config, ("maxOutputTokens",))
    answers = _count(config, "candidateCount", _MOST_ANSWERS)
    return BoundedRequest("gemini", model, body, stream, limit, answers, images.count, images.size)


class _Images:
    """The images of a request: their number, and the bytes of those that are in it as base64."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.count = self.size = 0

    def read(self, content: object) -> None:
        """Read messages, items or parts. Raises GatewayProblem for a part that cannot be counted."""
        if isinstance(content, list):
            for part in content:
                self.read(part)
        elif isinstance(content, dict):
            kind = content.get("type")
            if kind is not None and kind not in PARTS[self._api]:
                raise invalid(f"a part of the type {kind!r:.60} is not passed on: its tokens cannot be bounded")
            if "audio" in content or "file_id" in content:
                raise invalid("what is kept at the vendor cannot be named: it may be somebody else's")
            _check_cache(content)
            if kind in ("image_url", "input_image", "image"):
                self._add(content)
            else:
                self.read(content.get("content"))
                if kind in ("function_call_output", "custom_tool_call_output"):
                    self.read(content.get("output"))

    def _add(self, part: JsonObject) -> None:
        self.count += 1
        place = part.get("image_url") if self._api != "messages" else part.get("source")
        if isinstance(place, dict):
            if place.get("type") not in (None, "base64", "url"):
                raise invalid("an image is given as base64 or by its URL")
            place = place.get("url") or place.get("data")
        if not isinstance(place, str):
            raise invalid("an image is given as base64 or by its URL")
        if not place.startswith(("http://", "https://")):
            self.size += len(place)

    def read_gemini(self, contents: list[JsonObject]) -> None:
        """Read the contents of Gemini's wire."""
        for content in contents:
            for n, part in enumerate(_objects(content.get("parts"), "parts")):
                part = content["parts"][n] = _in_camel_case(part)
                _check_names(part, GEMINI_PARTS, "part")
                data = part.get("inlineData")
                if data is None:
                    continue
                data = part["inlineData"] = _in_camel_case(data if isinstance(data, dict) else {})
                if not str(data.get("mimeType")).startswith("image/") or not isinstance(data.get("data"), str):
                    raise invalid(
                        "`inlineData` other than images is not passed on: its tokens cannot be bounded"
                    )
                self.count += 1
                self.size += len(data["data"])


def _check_names(body: Mapping[str, object], known: frozenset[str], what: str) -> None:
    for name in body:
        if name not in known:
            raise invalid(
                f"the {what} {name!r:.60} is not passed on: what it costs cannot be bounded. An administrator can "
                "allow further fields of a provider (`fields`)"
            )


def _check_tier(body: JsonObject) -> None:
    tier = body.get("service_tier")
    if tier is not None and tier not in SERVICE_TIERS:
        raise invalid(f"the service tier {tier!r:.40} is not passed on: its price is another")
    if body.get("modalities") not in (None, ["text"]):
        raise invalid("`modalities` other than text are not passed on")
    if body.get("prompt_cache_retention") not in (None, "in_memory", "in-memory", "24h"):
        raise invalid("`prompt_cache_retention` is not one that is known")


def _check_tools(api: Api, body: JsonObject) -> None:
    for tool in _objects(body.get("tools"), "tools"):
        kind = tool.get("type", "custom" if api == "messages" else "function")
        if kind not in TOOLS[api]:
            raise invalid(
                f"a tool of the type {kind!r:.60} is not passed on: the vendor bills it beside the tokens"
            )
        _check_cache(tool)
    _check_cache(body)


def _check_cache(part: Mapping[str, object]) -> None:
    control = part.get("cache_control")
    if isinstance(control, dict) and control.get("ttl") not in (None, "5m"):
        raise invalid("a cache for longer than 5 minutes is not passed on: its price is another")


def _objects(value: object, name: str) -> list[JsonObject]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid(f"`{name}` must be a list of objects")
    return value


def _smallest_limit(body: JsonObject, names: tuple[str, ...]) -> int | None:
    """The limit of an answer; takes every spelling of it out of the body."""
    found: list[int] = []
    for name in names:
        value = body.pop(name, None)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_OUTPUT:
            raise invalid(f"`{name}` must be a whole number from 1 to {MOST_OUTPUT:,}")
        found.append(value)
    return min(found) if found else None


def _with_thinking(body: JsonObject, limit: int | None) -> int:
    """Anthropic's limit: it must be there, and a budget of thoughts lies within it."""
    if limit is None:
        raise invalid("`max_tokens` is missing")
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if budget is None:
        return limit
    if isinstance(budget, bool) or not isinstance(budget, int) or not 0 <= budget < limit:
        raise invalid("`thinking.budget_tokens` must be less than `max_tokens`")
    return limit


def _count(body: JsonObject, name: str, most: int) -> int:
    value = body.get(name)
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise invalid(f"`{name}` must be a whole number from 1 to {most}")
    return value


def _in_camel_case(value: JsonObject) -> JsonObject:
    """An object with names as Gemini's reference has them; its servers read snake_case as well."""
    return dict(_camel_pairs(value))


def _camel_pairs(value: JsonObject) -> Iterator[tuple[str, object]]:
    seen: set[str] = set()
    for name, inner in value.items():
        camel = re.sub(r"_+([a-zA-Z0-9])", lambda match: match[1].upper(), name)
        if camel in seen:
            raise invalid(f"`{camel:.60}` is there twice")
        seen.add(camel)
        yield camel, inner
