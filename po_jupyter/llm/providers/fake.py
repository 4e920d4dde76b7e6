"""The fake provider: without a model, in process and deterministic, for tests, demos and dry runs.

As a model ref: `fake:echo` repeats the last message (or fits the schema, or makes a vector of its words);
`fake:echo?latency=0.5` takes half a second; `fake:echo?fail=2` fails transiently twice for each request before it
answers; `fake:echo?confidence=0.6` gives labels that probability, where logprobs are asked for.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from math import hypot, log
from typing import TypeAlias
from urllib.parse import parse_qsl
from zlib import crc32

from po_jupyter.errors import ModelError, ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText, Provider
from po_jupyter.llm.logprobs import TokenLogprob
from po_jupyter.llm.money.tokens import estimate, estimate_messages
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.structured.example_value import example_value
from po_jupyter.llm.vectors import pack
from po_jupyter.model.run.usage import Usage

Scripted: TypeAlias = "str | ModelError | Callable[[ChatRequest], str]"


def make(context: ProviderContext) -> Provider:
    """The fake, which needs nothing of a context. Of a run's thousands of requests it keeps none."""
    return FakeProvider(keeps=False)


class FakeProvider:
    """A provider that answers from `replies` in order while there are any, then with an echo.

    `requests` are the requests so far, in order, where it `keeps` them. Usage: the estimate of `llm.money.tokens`;
    cost 0.
    """

    def __init__(
        self, replies: Sequence[Scripted] = (), *, latency: float = 0.0, name: str = "fake", keeps: bool = True
    ) -> None:
        """A reply is a text, an error to raise, or a function of the request. `latency` is in seconds."""
        self.name = name
        self.embeds = True
        self.requests: list[ChatRequest] = []
        self._replies = list(replies)
        self._latency = latency
        self._keeps = keeps
        self._failed: Counter[str] = Counter()

    def enqueue(self, *replies: Scripted) -> None:
        """Append replies that are given once, in order, before the echo applies again."""
        self._replies.extend(replies)

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """Answer at once, or after the latency. See `llm.chat.Provider`."""
        if self._keeps:
            self.requests.append(request)
        model, _, query = request.model_name.partition("?")
        options = _options(query)
        latency = options.get("latency", self._latency)
        text = self._text(request, model, int(options.get("fail", 0)))
        if on_text is None:
            if latency:
                await asyncio.sleep(latency)
        else:
            words = text.split(" ")
            for i, word in enumerate(words):
                if latency:
                    await asyncio.sleep(latency / len(words))
                on_text(word if i == 0 else f" {word}")
        usage = Usage(
            input_tokens=estimate_messages(m.content for m in request.messages),
            output_tokens=0 if request.embed else estimate(text),
            cost=0.0,
            calls=1,
        )
        return ChatResponse(
            text=text,
            usage=usage,
            model=model,
            seconds=latency,
            request_id=f"fake-{len(self.requests)}",
            logprobs=made_logprobs(text, options.get("confidence", 0.9)) if request.logprobs else (),
        )

    def _text(self, request: ChatRequest, model: str, failures: int) -> str:
        if self._replies:
            reply = self._replies.pop(0)
            if isinstance(reply, ModelError):
                raise reply
            return reply if isinstance(reply, str) else reply(request)
        if model != "echo":
            raise ModelRefused(f"fake has no model {model!r}", hint="It has one: fake:echo")
        if self._failed[request.request_hash] < failures:
            self._failed[request.request_hash] += 1
            raise ModelUnavailable("fake: asked to fail")
        last = request.messages[-1].content if request.messages else ""
        if request.embed:
            return pack(word_vector(last))
        if request.schema is not None:
            return json.dumps(example_value(request.schema))
        return json.dumps({"echo": last}) if request.json else f"echo: {last}"

    async def aclose(self) -> None:
        """Close nothing."""


def made_logprobs(text: str, probability: float = 0.9) -> tuple[TokenLogprob, ...]:
    """Log probabilities of a text as a model may give them, its words as tokens. The first word behind a colon, as a
    label stands in JSON, is as probable as said; what is written around it is certain."""
    tokens, is_value = [], False
    for piece in re.findall(r"\w+|\W+", text):
        is_label = is_value and piece[0].isalnum()
        tokens.append(TokenLogprob(piece, log(max(min(probability, 1.0), 1e-9)) if is_label else 0.0))
        is_value = ":" in piece
    return tuple(tokens)


def word_vector(text: str, dimensions: int = 64) -> list[float]:
    """A vector of length 1 that texts with the same words have, and texts with some of the same words nearly."""
    vector = [0.0] * dimensions
    for word in text.casefold().split() or [""]:
        digest = crc32(word.encode())
        vector[digest % dimensions] += 1.0 if digest & 1 << 31 else -1.0
    length = hypot(*vector) or 1.0
    return [value / length for value in vector]


def _options(query: str) -> dict[str, float]:
    options: dict[str, float] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        try:
            if name not in ("latency", "fail", "confidence"):
                raise ValueError
            options[name] = float(value)
        except ValueError:
            raise ModelRefused(
                f"fake does not know `{name}={value:.40}`",
                hint="It knows latency=SECONDS, fail=TIMES and confidence=PROBABILITY.",
            ) from None
    return options
