"""The runner of a replay: recorded responses through the product's providers, compared with their readings."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from po_jupyter.errors import AnswerEmpty, AnswerTruncated, InvalidInput, ModelError, ModelRefused
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message, Tool
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.specs import specs
from po_jupyter.model.run.usage import Usage
from po_jupyter.testing.model_server import ModelServer, Reply
from po_jupyter.testing.replay.cassettes import Exchange, read_exchanges
from po_jupyter.testing.replay.readings import AnswerReading, ApiName, api_of, read

Verdict: TypeAlias = Literal["right", "wrong", "other"]
_OF_API: Mapping[ApiName, str] = {
    "chat": "openai",
    "responses": "openai",
    "messages": "anthropic",
    "gemini": "gemini",
    "converse": "bedrock",
}


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What became of one exchange. `differences` name each part that is read otherwise, and how; `other` is an
    exchange with an API that no provider speaks, or one that was not recorded whole."""

    exchange: Exchange
    provider: str
    verdict: Verdict
    differences: tuple[str, ...] = ()


async def replay(folder: Path) -> AsyncIterator[ReplayResult]:
    """The result of every exchange below `folder`."""
    for exchange in read_exchanges(folder):
        yield await _result(exchange)


def counted(results: Iterable[ReplayResult]) -> Iterator[str]:
    """A line for each provider: how many of its exchanges were read right and wrong."""
    counts: dict[str, dict[Verdict, int]] = {}
    for result in results:
        counts.setdefault(result.provider, {"right": 0, "wrong": 0, "other": 0})[result.verdict] += 1
    for provider, count in sorted(counts.items()):
        yield f"{provider:12} {count['right']:5} right {count['wrong']:4} wrong {count['other']:4} other"


def provider_of(exchange: Exchange, api: ApiName) -> str:
    """The provider that reads an exchange: for Chat Completions the one whose server was asked, where it is known."""
    if api == "chat":
        for spec in specs().values():
            own_api = spec.name in _OF_API.values()
            if spec.base_env and not own_api and urlsplit(spec.base_url).hostname == exchange.host:
                return spec.name
        if exchange.host.endswith(".azure.com"):
            return "azure"
    return _OF_API[api]


async def _result(exchange: Exchange) -> ReplayResult:
    api = api_of(exchange)
    if api is None or exchange.status == 0 or not exchange.body.strip():
        return ReplayResult(exchange, "", "other")
    provider = provider_of(exchange, api)
    request = _request(exchange, api, provider)
    try:
        expected = read(exchange, api) if exchange.status < 400 else AnswerReading(error=True)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ReplayResult(exchange, provider, "other")
    answer = await _ask(exchange, api, provider, request)
    differences = tuple(_differences(exchange, request, expected, answer))
    return ReplayResult(exchange, provider, "wrong" if differences else "right", differences)


async def _ask(
    exchange: Exchange, api: ApiName, provider: str, request: ChatRequest
) -> ChatResponse | Exception:
    spec = specs()[provider]
    kind = (
        exchange.headers["content-type"]
        if exchange.in_frames
        else "text/event-stream"
        if exchange.streamed
        else "application/json"
    )
    with ModelServer() as server:
        server.enqueue(
            Reply(status=exchange.status, headers=_headers(exchange), body=exchange.response, content_type=kind)
        )
        base = server.root_url if api in ("messages", "gemini", "converse") else server.base_url
        providers = Providers({spec.key_env: server.key, spec.base_env: base})
        try:
            on_text = (lambda text: None) if exchange.streamed else None
            return await providers.get(request.model).chat(request, on_text=on_text)
        except (ModelError, InvalidInput) as error:
            return error
        finally:
            await providers.aclose()


def _headers(exchange: Exchange) -> dict[str, str]:
    return {
        k: v for k, v in exchange.headers.items() if k != "content-type" and v.isprintable() and v.isascii()
    }


def _request(exchange: Exchange, api: ApiName, provider: str) -> ChatRequest:
    """A request whose answer the recorded one could be: its model and its tools. What was asked does not matter."""
    body = exchange.request
    path = urlsplit(exchange.url).path
    if api == "converse":
        path = unquote(path.split("/")[2]).replace(":", "\0")  # its names have colons
    model = str(body.get("model") or path.rpartition("/")[2].partition(":")[0].replace("\0", ":") or "model")
    tools = tuple(Tool(name) for name in dict.fromkeys(_tool_names(body)))
    chosen_api: Any = api if api in ("chat", "responses") and provider == "openai" else None
    return ChatRequest(f"{provider}:{model}", (Message("user", "Hello"),), tools=tools, api=chosen_api)


def _tool_names(body: Mapping[str, Any]) -> Iterator[str]:
    """The names of the functions that a request offers; the vendor's own tools (search, code) are none."""
    tools = body.get("tools") or (body.get("toolConfig") or {}).get("tools")
    for tool in (t for t in (tools if isinstance(tools, list) else ()) if isinstance(t, dict)):
        if isinstance(spec := tool.get("toolSpec"), dict):
            tool = spec
        for function in tool.get("functionDeclarations") or tool.get("function_declarations") or (tool,):
            if not isinstance(function, dict):
                continue
            inner = function.get("function")
            name = (inner if isinstance(inner, dict) else function).get("name")
            if isinstance(name, str) and function.get("type", "function") in ("function", "custom"):
                yield name


def _differences(
    exchange: Exchange, request: ChatRequest, expected: AnswerReading, answer: ChatResponse | Exception
) -> Iterator[str]:
    if isinstance(answer, Exception):
        if not _justified(exchange, expected, answer):
            yield f"an error instead of an answer: {type(answer).__name__}: {answer}"[:300]
        return
    if expected.error:
        yield "an answer instead of an error"
        return
    for part, mine, theirs in (
        ("text", answer.text.strip(), expected.text.strip()),
        ("tools", [(c.name, dict(c.arguments)) for c in answer.tool_calls], expected.tools),
        ("finish", answer.finish, expected.end),
        ("input tokens", answer.usage.input_tokens, expected.input_tokens),
        ("output tokens", answer.usage.output_tokens, expected.output_tokens),
        ("cached tokens", answer.usage.cached_tokens, expected.cached_tokens),
    ):
        missing = theirs == "" and part == "finish"  # some servers leave the reason out: nothing to compare
        if mine != theirs and not missing and not (part.endswith("tokens") and answer.estimated):
            yield f"{part}: {mine!r:.120} is read, {theirs!r:.120} is there"
    if (cost := _cost_difference(answer, request)) is not None:
        yield cost


def _justified(exchange: Exchange, expected: AnswerReading, error: Exception) -> bool:
    """Whether an exchange is one that has to end as this error."""
    if exchange.status >= 400 or expected.error or expected.end == "failed":
        return isinstance(error, ModelError)
    if expected.refusal or expected.end == "refused":
        return isinstance(error, ModelRefused)
    if expected.end == "length":
        return isinstance(error, AnswerTruncated)
    return isinstance(error, AnswerEmpty) and not expected.text.strip() and not expected.tools


def _cost_difference(answer: ChatResponse, request: ChatRequest) -> str | None:
    """The cost by the product beside the cost of the recorded tokens by the list's own function."""
    from genai_prices import Usage as ListUsage
    from genai_prices import calc_price

    usage = answer.usage
    if usage.cost:  # the vendor's own figure
        return None
    priced = PriceBook().priced(
        Usage.model_construct(**{**usage.__dict__, "cost": None}), request.model, answer.model
    )
    spec = specs()[request.provider]
    if priced.cost is None or spec.free or not spec.price_id:
        return None
    counted = ListUsage(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens, cache_write_tokens=usage.cache_write_tokens,
    )  # fmt: skip
    for name in (request.model_name, answer.model):
        try:
            price = float(calc_price(counted, name, provider_id=spec.price_id).total_price)
        except LookupError:
            continue
        if math.isclose(price, priced.cost, rel_tol=1e-6, abs_tol=1e-12):
            return None
        return f"cost: {priced.cost} is read, {price} is right"
    return None
