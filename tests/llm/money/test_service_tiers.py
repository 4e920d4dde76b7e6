"""Service tiers: a call is billed by the tier that served it, and set aside at the dearest that may."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from po_jupyter.config import Price, Settings
from po_jupyter.engine.budgets.guard import worst_of
from po_jupyter.engine.planning.check import violations
from po_jupyter.engine.planning.estimate import estimate_run
from po_jupyter.errors import AnswerTruncated, InvalidPipeline, ModelRefused, ModelUnavailable
from po_jupyter.llm.calls.journal import MemoryJournal
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.llm.money import pricing
from po_jupyter.llm.money.pricing import LIST_PRICES, PriceBook
from po_jupyter.llm.money.service_tiers import tier_in_answer, tier_problem
from po_jupyter.llm.providers.anthropic.messages import MessagesReader
from po_jupyter.llm.providers.bedrock.converse import ConverseReader
from po_jupyter.llm.providers.compatible.chat_completions import ChatReader
from po_jupyter.llm.providers.compatible.family import OPENAI
from po_jupyter.llm.providers.fake import FakeProvider
from po_jupyter.llm.providers.gemini.generate_content import GeminiReader
from po_jupyter.llm.providers.openai.responses import ResponsesReader
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.wire.bodies import HttpResponse
from po_jupyter.llm.wire.headers import AnswerHeaders
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.run.usage import Usage
from po_jupyter.testing.conformance.provider.case_base import load

USAGE = Usage(input_tokens=1_000_000, output_tokens=100_000, cost=None, calls=1)
MINI = 1_000_000 * 0.25e-6 + 100_000 * 2e-6  # gpt-5-mini, by hand


@pytest.fixture(autouse=True)
def _in_november(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment of which the prices are known, whenever the test runs."""
    monkeypatch.setattr(pricing, "_now", lambda: datetime(2026, 11, 20, 12, tzinfo=UTC))


def ask(model: str = "openai:gpt-5-mini", **more: Any) -> ChatRequest:
    return replace(ChatRequest(model, (Message("user", "hello"),), max_tokens=100), **more)


# -- prices -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("ref", "tier", "rate"),
    [
        ("openai:gpt-5-mini", "flex", 0.5),
        ("openai:gpt-5-mini", "standard", 1.0),
        ("openai:gpt-5-mini", "priority", 1.8),  # $0.45 and $3.60 in the list
        ("openai:gpt-5.2", "priority", 2.0),
        ("openai:o1", "flex", 0.5),  # not in the list
        ("openai:o1", "priority", 2.5),
        ("gemini:gemini-2.5-flash", "flex", 0.5),
        ("gemini:gemini-2.5-flash", "priority", 1.8),
        ("anthropic:claude-haiku-4-5", "priority", 1.0),  # paid for before
        ("bedrock:amazon.nova-pro-v1:0", "flex", 0.5),
        ("bedrock:amazon.nova-pro-v1:0", "priority", 1.75),
        ("groq:llama-3.3-70b-versatile", "flex", 1.0),  # more room at the same price
    ],
)
def test_a_tier_has_its_price(ref: str, tier: str, rate: float) -> None:
    standard = LIST_PRICES.cost_of(USAGE, ref)
    assert standard
    assert LIST_PRICES.cost_of(USAGE, ref, tier=tier) == pytest.approx(standard * rate)
    assert LIST_PRICES.priced(USAGE, ref, tier=tier).cost == pytest.approx(standard * rate)


def test_prices_by_the_size_of_a_call_have_tiers_too() -> None:
    """gpt-5.4: $2.50 up to 272,000 tokens of a question, half of that on flex."""
    small = Usage(input_tokens=100_000)
    assert LIST_PRICES.cost_of(small, "openai:gpt-5.4", tier="flex") == pytest.approx(0.125)
    assert LIST_PRICES.cost_of(small, "openai:gpt-5.4") == pytest.approx(0.25)


def test_prices_of_ones_own_are_those_of_the_standard_tier() -> None:
    prices = PriceBook({"openai:mine": Price(input=1, output=2), "vllm:big": Price(input=1, output=2)})
    assert prices.cost_of(USAGE, "openai:mine", tier="flex") == pytest.approx(0.6)
    assert prices.cost_of(USAGE, "openai:mine", tier="priority") == pytest.approx(3.0)
    assert prices.cost_of(USAGE, "vllm:big", tier="priority") == pytest.approx(1.2), "no tiers there"
    assert prices.cost_of(USAGE, "openai:no-such", tier="flex") is None, "unknown stays unknown"
    assert prices.priced(Usage(cost=7.0), "openai:gpt-5-mini", tier="priority").cost == 7.0, (
        "what a vendor bills"
    )


@pytest.mark.parametrize(("tier", "rate"), [(None, 1), ("standard", 1), ("flex", 1), ("priority", 1.8)])
def test_a_budget_sets_the_dearest_tier_aside(tier: Any, rate: float) -> None:
    """Flex may be served as standard; priority is the dearest of the three."""
    plain = worst_of(ask(), LIST_PRICES)
    assert worst_of(ask(service_tier=tier), LIST_PRICES).usd == pytest.approx(plain.usd * rate)
    assert worst_of(ask(service_tier=tier), LIST_PRICES).tokens == plain.tokens


# -- the question is the same -----------------------------------------------------------------------
def test_a_tier_is_no_part_of_what_is_asked() -> None:
    """P3: an answer of before is an answer, on whatever tier; and no old hash changes."""
    assert ask(service_tier="flex").request_hash == ask().request_hash
    assert (
        "service_tier" not in ask().to_json() and ask(service_tier="flex").to_json()["service_tier"] == "flex"
    )
    answer = ChatResponse("x", service_tier="flex")
    assert ChatResponse.from_json(json.loads(json.dumps(answer.to_json()))) == answer
    assert "service_tier" not in ChatResponse("x").to_json()


# -- what an answer names -----------------------------------------------------------------------------
def readers(request: ChatRequest) -> dict[str, ResponseReader]:
    return {
        "chat": ChatReader("openai", request, None, "K", OPENAI),
        "responses": ResponsesReader("openai", request, None, "K"),
        "messages": MessagesReader("anthropic", request, None, "K"),
        "gemini": GeminiReader("gemini", request, None, "K"),
        "bedrock": ConverseReader("bedrock", request, None, "K"),
    }


def with_tier(wire: str, body: dict[str, Any], tier: str) -> dict[str, Any]:
    """A body, or an event with a usage, of that wire, that names its tier."""
    if wire == "bedrock":
        return {**body, "serviceTier": {"type": tier}}
    if wire in ("messages", "gemini"):
        field, name = {"messages": ("usage", "service_tier"), "gemini": ("usageMetadata", "serviceTier")}[wire]
        return {**body, field: {**body[field], name: tier}}
    return {**body, "service_tier": tier}


@pytest.mark.parametrize("wire", ["chat", "responses", "messages", "gemini", "bedrock"])
@pytest.mark.parametrize(
    ("requested", "named", "tier"),
    [
        (None, "default", ""),
        (None, "priority", "priority"),  # of the account's own
        ("flex", "FLEX", "flex"),
        ("flex", "default", "standard"),
        ("priority", "standard", "standard"),
        ("flex", "batch", ""),
    ],
)
def test_the_tier_of_an_answer_is_read(wire: str, requested: Any, named: str, tier: str) -> None:
    reader = readers(ask(service_tier=requested))[wire]
    body = with_tier(wire, load(wire)["exchanges"]["plain"]["body"], named)
    read = reader.read_response(HttpResponse(200, AnswerHeaders({}), json.dumps(body).encode()))
    assert read.service_tier == tier


@pytest.mark.parametrize("wire", ["chat", "responses", "messages", "gemini"])
def test_the_tier_of_a_stream_is_read(wire: str) -> None:
    reader = readers(ask(service_tier="flex"))[wire]
    for event in load(wire)["exchanges"]["plain_stream"]["events"]:
        if isinstance(event, dict):
            if wire == "responses" and "response" in event:
                event = {**event, "response": with_tier(wire, event["response"], "flex")}
            elif wire == "chat" or "usageMetadata" in event or "usage" in event:
                event = with_tier(wire, event, "flex")
        reader.feed(json.dumps(event).encode() if isinstance(event, dict) else event.encode())
    assert reader.finish_stream().service_tier == "flex"


def test_the_last_event_of_converse_names_the_tier() -> None:
    reader = readers(ask(service_tier="flex"))["bedrock"]
    for event in load("bedrock")["exchanges"]["plain_stream"]["events"]:
        if "metadata" in event:
            event = {"metadata": with_tier("bedrock", event["metadata"], "flex")}
        reader.feed(json.dumps(event).encode())
    assert reader.finish_stream().service_tier == "flex"


def test_gemini_may_name_it_in_a_header() -> None:
    body = json.dumps(load("gemini")["exchanges"]["plain"]["body"]).encode()
    headers = AnswerHeaders({"X-Gemini-Service-Tier": "standard"})
    read = readers(ask(service_tier="priority"))["gemini"].read_response(HttpResponse(200, headers, body))
    assert read.service_tier == "standard"


@pytest.mark.parametrize("name", [None, 3, {}, "", "scale", "reserved", "on_demand"])
def test_other_names_are_no_tier(name: object) -> None:
    assert tier_in_answer(name) == ""


# -- calls ----------------------------------------------------------------------------------------------
PRICES = PriceBook({"fake:echo": Price(input=1, output=0)})


class Served(FakeProvider):
    """Answers of a million tokens of input, served on a tier."""

    def __init__(self, *answers: ChatResponse | Exception) -> None:
        super().__init__()
        self.answers = list(answers)

    async def chat(self, request: ChatRequest, *, on_text: Any = None) -> ChatResponse:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def chat_with(provider: Served, journal: MemoryJournal | None = None) -> JournaledChat:
    """Priced as OpenAI's: the ref is its, the provider ours."""
    providers = Providers({}, opened={"openai": provider})
    prices = PriceBook({"openai:gpt-5-mini": Price(input=1, output=0)})
    return JournaledChat(providers.get, journal or MemoryJournal(), prices=prices)


@pytest.mark.parametrize(
    ("requested", "served", "dollars"),
    [("flex", "flex", 0.5), ("flex", "standard", 1), ("priority", "priority", 2.5), ("priority", "", 1)],
)
async def test_a_call_costs_what_the_tier_that_served_it_does(
    requested: Any, served: str, dollars: float
) -> None:
    provider, journal = Served(ChatResponse("hi", USAGE, service_tier=served)), MemoryJournal()
    first = await chat_with(provider, journal).scope("t").chat(ask(service_tier=requested))
    assert first.usage.cost == pytest.approx(dollars)
    assert provider.requests[0].service_tier == requested
    again = await chat_with(provider, journal).scope("t").chat(ask(service_tier="standard"))
    assert again == first and again.replayed, "asked on another tier it is the same question: nothing is sent"


@pytest.mark.parametrize(
    ("requested", "named", "dollars"),
    [
        ("priority", None, 2.5),
        ("priority", "standard", 1),
        ("flex", None, 1),
        ("flex", "flex", 0.5),
        (None, None, 1),
    ],
)
async def test_an_answer_that_broke_counts_at_the_dearest_it_may_be(
    requested: Any, named: str | None, dollars: float
) -> None:
    details = {"usage": USAGE.to_json(), **({"service_tier": named} if named else {})}
    chat = chat_with(Served(AnswerTruncated("cut", details=details)))
    with pytest.raises(AnswerTruncated) as caught:
        await chat.scope("t").chat(ask(service_tier=requested), retry=CallRetry(max_attempts=1))
    assert caught.value.usage["cost"] == pytest.approx(dollars)


async def test_a_tier_that_a_provider_does_not_take_is_refused_before_anything_is_sent() -> None:
    """Also of a model that only the run names, which no check saw."""
    provider, journal = Served(), MemoryJournal()
    chat = JournaledChat(Providers({}, opened={"groq": provider}).get, journal)
    with pytest.raises(ModelRefused, match="`service_tier: flex` needs a provider that takes it"):
        await chat.scope("t").chat(ask("groq:x", service_tier="flex"))
    assert not provider.requests and not journal.records


async def test_no_room_on_flex_is_tried_again() -> None:
    """OpenAI's 429 `resource_unavailable` costs nothing."""
    full = ModelUnavailable("no room", outcome="none")
    provider = Served(full, ChatResponse("hi", USAGE, service_tier="flex"))
    retry = CallRetry(max_attempts=2, initial_delay=0)
    answer = await chat_with(provider).scope("t").chat(ask(service_tier="flex"), retry=retry)
    assert answer.usage.cost == pytest.approx(0.5)


# -- check, estimate ------------------------------------------------------------------------------------
def pipeline(*tasks: dict[str, Any], **fields: Any) -> Any:
    return validate_pipeline({"name": "p", **fields, "tasks": list(tasks)})


def test_what_takes_a_tier() -> None:
    assert tier_problem("openai:x", "flex") is None and tier_problem("fake:echo", "priority") is None
    assert tier_problem("groq:x", "standard") is None and tier_problem("groq:x", None) is None
    assert tier_problem("nobody:x", "flex") is None
    assert tier_problem("anthropic:x", "flex") == (
        "`service_tier: flex` needs a provider that takes it (bedrock, gemini, openai), "
        "and anthropic has standard, priority only"
    )
    assert "and vertex has none here" in str(tier_problem("vertex:x", "priority"))


TASK = {"name": "t", "prompt": "x"}
GROQ = {"model": "groq:x"}


@pytest.mark.parametrize(
    ("task", "fields", "where"),
    [
        ({"llm": {**GROQ, "service_tier": "flex"}}, {}, "tasks[0].llm.service_tier"),
        ({"llm": GROQ}, {"llm": {"service_tier": "flex"}}, "llm.service_tier"),
        (
            {"llm": [{"model": "openai:x"}, {**GROQ, "service_tier": "priority"}]},
            {},
            "tasks[0].llm[1].service_tier",
        ),
        (
            {
                "llm": {"model": "fake:echo"},
                "score": {"judge": "?", "scale": [1, 5], "llm": {**GROQ, "service_tier": "flex"}},
            },
            {},
            "tasks[0].score.llm.service_tier",
        ),
        ({"llm": {"model": "openai:x", "service_tier": "flex"}}, {}, None),
        ({"llm": {**GROQ, "service_tier": "standard"}}, {"llm": {"service_tier": "flex"}}, None),
    ],
)  # fmt: skip
def test_a_tier_that_is_not_there_is_found_before_the_start(
    task: dict[str, Any], fields: dict[str, Any], where: str | None
) -> None:
    found = violations(pipeline({**TASK, **task}, **fields))
    assert [v.where for v in found] == ([] if where is None else [where])


def test_a_word_that_is_no_tier_is_refused() -> None:
    with pytest.raises(InvalidPipeline, match="service_tier"):
        pipeline({**TASK, "llm": {"service_tier": "turbo"}})


def test_a_batch_has_a_price_of_its_own() -> None:
    rows = {"for_each": "{{ seed.rows }}", "mode": "batch"}
    with pytest.raises(InvalidPipeline, match="a batch has a price of its own"):
        pipeline({**TASK, **rows, "llm": {"model": "openai:gpt-5-mini", "service_tier": "flex"}})
    of_pipeline = pipeline({**TASK, **rows}, llm={"model": "mistral:x", "service_tier": "flex"})
    assert violations(of_pipeline) == []


def cost(**llm: Any) -> Any:
    schema = {"enum": ["bug", "praise"]}
    one = pipeline({**TASK, "output": schema}, llm={"model": "openai:gpt-5-mini", "max_tokens": 100, **llm})
    return estimate_run(one, Seed(name="s", data={}), {}, settings=Settings())["cost"]


def test_the_estimate_knows_tiers() -> None:
    """Expected as it is asked for, at worst as it may be billed."""
    plain, flex, priority = cost(), cost(service_tier="flex"), cost(service_tier="priority")
    assert flex["expected"] == pytest.approx(plain["expected"] / 2) and flex["worst"] == plain["worst"]
    assert priority["expected"] == pytest.approx(plain["expected"] * 1.8)
    assert priority["worst"] == pytest.approx(plain["worst"] * 1.8)
