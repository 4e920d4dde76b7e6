"""Requests read and bounded: the model, the most tokens in and out, and the body as it is sent on.

The body that goes out is written anew from what was read here, so the vendor reads the same: of a key that comes
twice, of several limits, of a number that is none, it never sees another one.

A bound of the input is the bytes of its text: no tokenizer makes more tokens than bytes. Images have bounds of their
own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from po_jupyter.hub.problems import invalid
from po_jupyter.hub.wires.operations import Api
from po_jupyter.hub.wires.request_fields import GEMINI_CONFIG, SERVICE_TIERS, TOOLS, TOP
from po_jupyter.hub.wires.request_parts import Images, check_cache, check_names, in_camel_case, objects
from po_jupyter.llm.bounds import model_limit
from po_jupyter.llm.money.tokens import image_bound
from po_jupyter.llm.providers.compatible.family import OPENAI, QUIRKS, Quirks
from po_jupyter.model.values.json import JsonObject

MOST_OUTPUT = 10_000_000  # tokens: a larger limit is a mistake
_MOST_ANSWERS = 128
_BESIDE = 1000  # tokens that vendors add: instructions for tools and formats, turns
_PLAIN = Quirks()
_THOUGHTS = 16_384  # the budget of thoughts of a request that sets none, where they lie beside the limit
_MOST_THOUGHTS = 131_072  # of a model that may not keep to one
_THINKING = ("reasoning", "reasoning_effort", "thinking_budget", "chat_template_kwargs", "output_config")
_LARGE_IMAGE = 16_384  # tokens: vLLM with Qwen-VL, as of 2026-11
_LARGE_PATCHES = 12_500  # gpt-5.4 and later: 10,000 patches, each more than a token
_KNOWN_IMAGES = frozenset({"openai", "azure", "anthropic", "gemini"})
_MOST_VALUES = 250_000  # commas, braces and brackets of a body: as many objects take 0.2 s and 60 MB
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)


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
    image_urls: int = 0
    thoughts: int = 0  # tokens beside the limit (Model Studio's `thinking_budget`)

    def input_bound(self, ref: str, size: int, *, at_vendor: bool = True) -> int:
        """The most tokens of the input, for a body of `size` bytes. `at_vendor`: it goes to the vendor's own server."""
        return size - self.image_bytes + self.images * _image_bound(ref, at_vendor) + _BESIDE

    def set_model(self, ref: str) -> None:
        """Ask for this model and no other, whatever the request called it."""
        name = ref.partition(":")[2]
        if self.api == "gemini_embeddings":
            for request in self.body.get("requests") or [self.body]:
                request["model"] = f"models/{name}"
        elif self.api != "gemini":
            self.body["model"] = name

    def output_bound(self, ref: str, default: int) -> int:
        """The most tokens of all answers together. Puts the limit into the request, in one field of several: what is
        known of a model may be less than what it writes. Embeddings write nothing."""
        if self.api in ("embeddings", "gemini_embeddings"):
            return 0
        limit = self.limit if self.limit is not None else model_limit(ref) or default
        self._put_limit(ref, limit)
        thoughts = self._bound_thoughts(ref) if ref.startswith("alibaba:") else self.thoughts
        return (limit + thoughts) * self.answers

    def _bound_thoughts(self, ref: str) -> int:
        """The most tokens of the thoughts of a model of Model Studio's, which lie beside its limit. Puts a budget for
        them into the request; that other models than Qwen's keep to it is not known."""
        if "chat_template_kwargs" in self.body:
            raise invalid("`chat_template_kwargs` are not passed on to alibaba: write `enable_thinking`")
        name = ref.partition(":")[2].lower()
        obeys = re.match(r"qwen(?!.*thinking)", name) is not None
        is_off = self.body.get("enable_thinking") is False or self.body.get("thinking_budget") == 0
        if is_off and not re.match(r"qwq|qvq|.*thinking|.*-r1", name):
            self.body["enable_thinking"] = False
            self.body.pop("thinking_budget", None)
            return 0
        budget = self.body["thinking_budget"] = self.thoughts or _THOUGHTS
        return budget if obeys else max(budget, _MOST_THOUGHTS)

    @property
    def thinks(self) -> bool:
        """Whether the request may make a model think that else would not."""
        body = self.body
        thinking = body.get("thinking")
        config = body.get("generationConfig")
        return (
            (thinking is not None and not (isinstance(thinking, dict) and thinking.get("type") == "disabled"))
            or any(body.get(name) is not None for name in _THINKING)
            or body.get("enable_thinking") not in (None, False)
            or (isinstance(config, dict) and config.get("thinkingConfig") is not None)
        )

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
        return _ENCODER.encode(self.body).encode()


def _image_bound(ref: str, at_vendor: bool) -> int:
    provider, _, model = ref.partition(":")
    if not at_vendor or provider not in _KNOWN_IMAGES:
        return max(_LARGE_IMAGE, image_bound(ref))
    if provider in ("openai", "azure") and not re.match(r"gpt-(?:3|4|5(?!\.[4-9]))|o\d|chatgpt", model):
        return max(_LARGE_PATCHES, image_bound(ref))
    return image_bound(ref)


def count_values(raw: bytes, most: int) -> int:
    """About the number of values in JSON, counted before it is parsed. Exact where it might be more than `most`: signs
    within strings are none."""
    count = sum(map(raw.count, (b",", b"[", b"{")))
    if count > most:
        raw = _STRINGS.sub(b"", raw)
        count = sum(map(raw.count, (b",", b"[", b"{")))
    return count


def read_json(raw: bytes) -> JsonObject:
    """The JSON object in a body. Raises GatewayProblem: not JSON, too deep, too many values, or with numbers that JSON
    has not. The parser lets nothing else run, so that what it has to do is bounded first."""
    if count_values(raw, _MOST_VALUES) > _MOST_VALUES:
        raise invalid(f"the body has more than {_MOST_VALUES:,} values", 413)
    try:
        body = _DECODER.decode(raw.decode(json.detect_encoding(raw), "surrogatepass"))
    except (ValueError, RecursionError):
        raise invalid("the body is not JSON, or nested too deeply") from None
    if not isinstance(body, dict):
        raise invalid("the body must be a JSON object")
    return body


def _no_number(text: str) -> None:
    raise ValueError(text)


# Made once: `json.loads` and `json.dumps` with options make one for each call.
_DECODER = json.JSONDecoder(parse_constant=_no_number)
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def bound_request(
    api: Api, body: JsonObject, *, path_model: str = "", stream: bool = False, fields: tuple[str, ...] = ()
) -> BoundedRequest:
    """The request in a body. `path_model` and `stream` are Gemini's, which has both in the path; `fields` may stand at
    the top beside those that are known. Raises GatewayProblem for what could not be counted."""
    try:
        if api == "gemini":
            body = in_camel_case(body)
        check_names(body, TOP[api].union(fields), "field")
        images = Images(api)
        if api == "gemini":
            return _bound_gemini(body, path_model, stream, images)
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise invalid("`model` is missing")
        _check_tier(body)
        _check_tools(api, body)
        images.read(body)
        if api == "responses":
            body["store"] = False  # what is kept there could be named again, for the tokens of its name
        limits = ("max_tokens", "max_completion_tokens") if api != "responses" else ("max_output_tokens",)
        limit = _smallest_limit(body, limits)
        if api == "messages":
            limit = _with_thinking(body, limit)
        answers = max(_count(body, "n", _MOST_ANSWERS), _count(body, "best_of", _MOST_ANSWERS))
        streams = body.get("stream")
        if streams not in (None, True, False):
            raise invalid("`stream` must be true or false")
        thoughts = _count(body, "thinking_budget", MOST_OUTPUT) if body.get("thinking_budget") else 0
        return BoundedRequest(
            api, model, body, bool(streams), limit, answers, images.count, images.size, images.urls, thoughts
        )
    except RecursionError:
        raise invalid("the body is nested too deeply") from None


def _bound_gemini(body: JsonObject, model: str, stream: bool, images: Images) -> BoundedRequest:
    config = body.get("generationConfig")
    if config is None:
        config = {}
    if not isinstance(config, dict):
        raise invalid("`generationConfig` must be an object")
    if config:
        body["generationConfig"] = config = in_camel_case(config)
        check_names(config, GEMINI_CONFIG, "field of generationConfig")
    if config.get("responseModalities") not in (None, ["TEXT"], ["text"]):
        raise invalid("`responseModalities` other than TEXT are not passed on")
    for tool in objects(body.get("tools"), "tools"):
        check_names(in_camel_case(tool), frozenset({"functionDeclarations"}), "tool")
    _check_tier(body, "serviceTier")
    instruction = body.get("systemInstruction")
    if not isinstance(instruction, dict | None):
        raise invalid("`systemInstruction` must be an object")
    images.read_gemini(objects(body.get("contents"), "contents"))
    images.read_gemini([instruction] if instruction is not None else [])
    limit = _smallest_limit(config, ("maxOutputTokens",))
    answers = _count(config, "candidateCount", _MOST_ANSWERS)
    return BoundedRequest("gemini", model, body, stream, limit, answers, images.count, images.size)


def _check_tier(body: JsonObject, name: str = "service_tier") -> None:
    tier = body.get(name)
    if tier is not None and tier not in SERVICE_TIERS:
        raise invalid(
            f"the service tier {tier!r:.40} is not passed on: it costs more than the price that limits are kept by"
        )
    if body.get("modalities") not in (None, ["text"]):
        raise invalid("`modalities` other than text are not passed on")
    if body.get("prompt_cache_retention") not in (None, "in_memory", "in-memory", "24h"):
        raise invalid("`prompt_cache_retention` is not one that is known")


def _check_tools(api: Api, body: JsonObject) -> None:
    for tool in objects(body.get("tools"), "tools"):
        kind = tool.get("type", "custom" if api == "messages" else "function")
        if kind not in TOOLS[api]:
            raise invalid(
                f"a tool of the type {kind!r:.60} is not passed on: the vendor bills it beside the tokens"
            )
        check_cache(tool)
    check_cache(body)


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
