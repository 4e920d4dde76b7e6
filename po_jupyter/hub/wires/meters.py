"""Meters: what an answer used, read from its body or from its stream while that passes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import ceil

from po_jupyter.hub.accounts.balances import NANO, Demand
from po_jupyter.hub.accounts.ledger import Charge, in_full
from po_jupyter.hub.wires.operations import Api
from po_jupyter.llm.bounds import thinks
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.money.service_tiers import tier_in_answer
from po_jupyter.llm.wire.json_fields import as_text, mapping_at, mappings_in
from po_jupyter.llm.wire.usage import anthropic_usage, chat_usage, gemini_usage, responses_usage, usage_from
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonObject

_ARGUMENTS = frozenset({"args", "input"})  # of a function, as an object
_FORM = frozenset({"type", "id", "signature", "thoughtSignature", "inlineData"})  # no text of the model's
_LONGEST_LINE = 8 * 1024**2  # bytes of a stream without a line end: longer ones are not read


class Meter:
    """The meter of one answer.

    usage     as the vendor counted it; None until it said so
    ended     the answer said that it is over
    text      bytes of text seen, of answers and of thoughts
    model     the model that answered
    tier      the service tier that the answer names, by our name for it; "" for none
    """

    def __init__(self, api: Api, *, says_cost: bool = False) -> None:
        """`says_cost`: the vendor says itself what a call cost."""
        self.usage: Usage | None = None
        self.ended = False
        self.text = 0
        self.pieces = 0
        self.model = ""
        self.tier = ""
        self._line = bytearray()
        self._counts: dict[str, object] = {}  # Anthropic's, of several events
        self._says_cost = says_cost
        self._read: Callable[[JsonObject], None] = {
            "chat": self._chat, "responses": self._responses, "messages": self._messages, "gemini": self._gemini,
            "embeddings": self._chat, "gemini_embeddings": self._gemini,
        }[api]  # fmt: skip

    def whole(self, body: bytes) -> None:
        """Read a whole body; one that is no JSON object says nothing."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return
        if isinstance(value, dict):
            self.read(value)

    def read(self, body: JsonObject) -> None:
        """Read a whole body that is parsed already."""
        self._read(body)
        self.ended = not body.get("error")

    def feed(self, data: bytes) -> None:
        """Read a piece of a stream of server-sent events."""
        if b"\n" not in data:
            if len(self._line) < _LONGEST_LINE:
                self._line += data
            return
        *lines, rest = (bytes(self._line) + data).split(b"\n") if self._line else data.split(b"\n")
        self._line = bytearray(rest)
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:])

    def _event(self, data: bytes) -> None:
        data = data.strip()
        if data == b"[DONE]":
            self.ended = True
            return
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            return
        if isinstance(event, dict):
            self.pieces += 1
            self._read(event)

    # -- the wires ----------------------------------------------------------------------------------------
    def _chat(self, event: JsonObject) -> None:
        self.model = as_text(event.get("model")) or self.model
        self._read_tier(event.get("service_tier"))
        counts = event.get("usage")
        if isinstance(counts, Mapping):
            usage = chat_usage(counts, says_cost=self._says_cost)
            if self.usage is None or usage.input_tokens or usage.output_tokens:
                self.usage = usage
        for choice in mappings_in(event.get("choices")):
            message = mapping_at(choice, "delta") or mapping_at(choice, "message")
            for name, value in message.items():
                if name != "role":
                    self._see(value)
            self.ended = self.ended or bool(choice.get("finish_reason"))

    def _responses(self, event: JsonObject) -> None:
        response = mapping_at(event, "response") or event
        self.model = as_text(response.get("model")) or self.model
        self._read_tier(response.get("service_tier"))
        counts = response.get("usage")
        if isinstance(counts, Mapping):
            self.usage = responses_usage(counts)
        self._see(event.get("delta"))
        self._see(response.get("output"))
        if event.get("type") in ("response.completed", "response.incomplete", "response.failed"):
            self.ended = True

    def _messages(self, event: JsonObject) -> None:
        message = mapping_at(event, "message") or event
        self.model = as_text(message.get("model")) or self.model
        counts = message.get("usage") or event.get("usage")
        if isinstance(counts, Mapping):
            self._counts |= {name: value for name, value in counts.items() if value or name not in self._counts}
            self.usage = anthropic_usage(self._counts)
            self._read_tier(counts.get("service_tier"))
        delta = mapping_at(event, "delta")
        for name in ("text", "thinking", "partial_json"):
            self._see(delta.get(name))
        self._see(message.get("content"))
        self._see(event.get("content_block"))
        self.ended = self.ended or event.get("type") == "message_stop" or bool(delta.get("stop_reason"))

    def _gemini(self, event: JsonObject) -> None:
        self.model = as_text(event.get("modelVersion")) or self.model
        counts = event.get("usageMetadata")
        if isinstance(counts, Mapping):
            self.usage = gemini_usage(counts)
            self._read_tier(counts.get("serviceTier"))
        for candidate in mappings_in(event.get("candidates")):
            for part in mappings_in(mapping_at(candidate, "content").get("parts")):
                self._see(part)
            self.ended = self.ended or bool(candidate.get("finishReason"))

    def _read_tier(self, name: object) -> None:
        self.tier = tier_in_answer(name) or self.tier

    def _see(self, value: object) -> None:
        """Count the texts in a value: whatever a model wrote is in one of them."""
        if isinstance(value, str):
            self.text += len(value.encode("utf-8", "replace"))
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                if name in _ARGUMENTS and not isinstance(inner, str):
                    self._see(json.dumps(inner))
                elif name not in _FORM:
                    self._see(inner)
        elif isinstance(value, list):
            for inner in value:
                self._see(inner)


class Pricer:
    """What usages and bounds cost, in nano-dollars, rounded up."""

    def __init__(self, prices: PriceBook) -> None:
        """`prices` are the team's, over the list."""
        self._prices = prices

    def worst(self, ref: str, input_tokens: int, output_tokens: int) -> int | None:
        """The most that so many tokens cost; None for a model without a price."""
        plain = self._prices.cost_of(Usage(input_tokens=input_tokens, output_tokens=output_tokens), ref)
        if plain is None:
            return None
        written = self._prices.cost_of(
            Usage(input_tokens=input_tokens, output_tokens=output_tokens, cache_write_tokens=input_tokens), ref
        )
        return _nano(max(plain, written or 0.0))

    def amounts(self, usage: Usage, ref: str, *, reserved: int | None = None, tier: str = "") -> Charge:
        """What a usage counts as. `reserved` are the nano-dollars that it counts as where the price went away since;
        `tier` is the service tier that the answer names, or `BATCH`."""
        cost = self._prices.priced(usage, ref, tier=tier).cost
        nano = reserved if cost is None else _nano(cost)
        return Charge(
            usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens,
            nano or 0, 0, int(nano is None),
        )  # fmt: skip

    def settlement(self, demand: Demand, meter: Meter) -> Charge:
        """What a call counts as whose answer has passed, as far as it came.

        A whole answer counts as the vendor says. One that broke off counts with the input and what was seen of the
        output, each byte of it as a token, and in full where thoughts are not seen: where the model thinks, the
        request asked for it, or it is not known which model answers. One that says nothing of its usage, or that it
        is nothing, counts in full.
        """
        usage = meter.usage
        if usage is not None and not (usage.input_tokens or usage.output_tokens):
            usage = None
        if usage is not None and meter.ended and (usage.output_tokens or not meter.text):
            return self._within(demand, usage, meter.tier)
        if not meter.pieces or demand.thinks or _may_think(demand, meter.model):
            return in_full(demand)
        input = usage.input_tokens if usage is not None and usage.input_tokens else demand.input_tokens
        seen = max(meter.pieces, meter.text, usage.output_tokens if usage is not None else 0)
        counted = usage_from(
            input, min(seen, demand.output_tokens),
            cached=usage.cached_tokens if usage is not None else 0,
            written=usage.cache_write_tokens if usage is not None else 0,
        )  # fmt: skip
        return self._within(demand, counted, meter.tier)._replace(lost=1)

    def _within(self, demand: Demand, usage: Usage, tier: str) -> Charge:
        charge = self.amounts(usage, demand.model, reserved=demand.nano, tier=tier)
        dearer = (
            tier == "priority"
        )  # an account may have it without being asked: it is billed, whatever was reserved
        return charge if usage.cost is not None or dearer else within_bounds(demand, charge)


def within_bounds(demand: Demand, charge: Charge) -> Charge:
    """A charge of no more than was reserved for it, where its tokens are within the demand: a price that rose in
    between, by a reload or by the hour, is no reason to be over a limit."""
    if demand.nano is None or charge.input > demand.input_tokens or charge.output > demand.output_tokens:
        return charge
    return charge._replace(nano=min(charge.nano, demand.nano))


def _may_think(demand: Demand, model: str) -> bool:
    """Whether a model thinks that was asked for, or that says it answered."""
    refs = (demand.model, f"{demand.provider}:{model}") if model else (demand.model,)
    return demand.provider == "azure" or any(thinks(ref, None) for ref in refs)


def _nano(dollars: float) -> int:
    """Nano-dollars, rounded up; a millionth of one is what floats lose."""
    return ceil(round(dollars * NANO, 6))
