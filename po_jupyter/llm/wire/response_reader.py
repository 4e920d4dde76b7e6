"""One answer under way, in any wire format: what has come so far, and how it ends.

A wire format subclasses `Reading` and says what a whole body and one event of a stream mean; status, errors,
truncation, refusals, missing usage and broken streams are the same for all and are settled here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from po_jupyter.errors import (
    AnswerTruncated,
    AnswerUnreadable,
    ModelError,
    ModelRefused,
    ModelUnavailable,
)
from po_jupyter.llm.chat import ChatRequest, ChatResponse, ToolCall
from po_jupyter.llm.money.tokens import estimate, estimate_messages
from po_jupyter.llm.rate_limits.headers import limits_from
from po_jupyter.llm.wire.bodies import Answer, as_json
from po_jupyter.llm.wire.errors import fault, redacted, request_id, status_of
from po_jupyter.llm.wire.stop_sequences import StopCutter
from po_jupyter.model.run.usage import Usage


class Reading:
    """What has come of one answer.

    `finish` is None until the provider said why it ended, then `stop`, `length`, `tool_calls`, `refused`,
    `failed` (the provider gave up: another try may help) or another word of the provider's own.
    """

    base_url_hint: ClassVar[str] = "Check the base URL."
    api: ClassVar[str] = ""

    def __init__(self, provider: str, request: ChatRequest, key: str | None, key_env: str) -> None:
        self.provider = provider
        self.request = request
        self.key = key
        self.key_env = key_env
        self.headers: Mapping[str, str] = {}
        self.ended = False
        self.keep_cut_text = False
        self.cutter: StopCutter | None = None
        self.usage: Usage | None = None
        self.finish: str | None = None
        self.model = ""
        self.answer_id = ""
        self.refusal = ""
        self.carry: Mapping[str, Any] | None = None
        self._calls: dict[Any, list[Any]] = {}
        self._pieces: list[str] = []
        self._started = time.perf_counter()

    # -- what a wire format says -------------------------------------------------------------------
    def whole(self, said: dict[str, Any]) -> str:
        """The text of a whole body; everything else it says goes into the fields."""
        raise NotImplementedError

    def event(self, said: dict[str, Any]) -> str:
        """The text of one event of a stream, "" when it brings none."""
        raise NotImplementedError

    def last(self) -> None:
        """Called once before the response is made, whole or streamed."""

    # -- what they say it with -----------------------------------------------------------------------
    def call(
        self, place: Any, *, id: str = "", name: str = "", arguments: str | Mapping[str, Any] = ""
    ) -> None:
        """A tool call, or a further piece of it: `arguments` as text are appended, a mapping is whole."""
        found = self._calls.setdefault(place, ["", "", ""])
        found[0] = found[0] or id
        found[1] = found[1] or name
        found[2] = (
            found[2] + arguments if isinstance(arguments, str) and isinstance(found[2], str) else arguments
        )

    def shapeless(self, what: str = "the answer has no message") -> ModelError:
        """The error for JSON that is not what the API's reference describes."""
        return ModelUnavailable(f"{self.provider}: {what}", details=self.details(), outcome="unknown")

    def inside(self, error: Any, status: int | None = None) -> ModelError:
        """An error in a body whose status said 200, as proxies and streams send it."""
        from httpx import Headers

        status = status_of(error) if status is None else status
        body = json.dumps({"error": error}).encode()
        headers = Headers({k: v for k, v in self.headers.items() if k.lower() != "content-type"})
        return self.failed(Answer(status, headers, body))

    # -- the same for all ------------------------------------------------------------------------------
    def failed(self, answer: Answer) -> ModelError:
        """The error for a status that is not 200."""
        model = self.request.model_name
        error = fault(answer, provider=self.provider, model=model, key=self.key, key_env=self.key_env)
        error.limits = limits_from(answer.headers)
        return error

    def read(self, answer: Answer) -> ChatResponse:
        """The response in a whole body. Raises a ModelError."""
        if answer.status != 200:
            raise self.failed(answer)
        self.headers = answer.headers
        said = as_json(answer.body)
        if not isinstance(said, dict):
            raise self._not_json(answer)
        if said.get("error") and not said.get("choices"):
            raise self.inside(said["error"])
        self.add(self.whole(said))
        return self.done()

    def take(self, data: bytes) -> str:
        """The text of one event's data that may be shown now. Raises a ModelError."""
        if data.strip() == b"[DONE]":
            self.ended = True
            return ""
        said = as_json(data)
        if not isinstance(said, dict):
            raise self.shapeless("the stream holds an event that is not JSON")
        if said.get("error"):
            raise self.inside(said["error"])
        return self.add(self.event(said))

    def add(self, piece: str) -> str:
        """Keep a piece of text; what may be shown of it."""
        if self.cutter is not None:
            piece = self.cutter.feed(piece)
        if piece:
            self._pieces.append(piece)
        return piece

    def tail(self) -> str:
        """Text that was held back in case a stop sequence followed."""
        if self.cutter is None:
            return ""
        rest = self.cutter.rest()
        if rest:
            self._pieces.append(rest)
        return rest

    def finish_stream(self) -> ChatResponse:
        """The response, after the last event. Raises ModelUnavailable when the stream broke off."""
        if self.finish is None and not self.ended:
            size = sum(map(len, self._pieces))
            raise ModelUnavailable(
                f"{self.provider}: the stream broke off after {size} characters", outcome="unknown"
            )
        return self.done()

    def done(self) -> ChatResponse:
        """The response, or the typed error that the end of the answer means."""
        self.tail()
        self.last()
        text = "".join(self._pieces)
        finish = self.finish or "stop"
        usage, estimated = self._spent(text)
        if self.cutter is not None and self.cutter.hit:
            finish = "stop"
        if finish == "length" and not self.keep_cut_text:
            raise self._truncated(text, usage)
        if finish == "failed":
            raise ModelUnavailable(
                f"{self.provider} gave up in the middle of its answer"
                + (f": {redacted(self.refusal, self.key)[:300]}" if self.refusal else ""),
                details={**self.details(), "usage": usage.to_json()},
            )
        if finish == "refused" or (self.refusal and not text):
            raise self._refused(text, usage)
        calls = self._made_calls(usage)
        return ChatResponse(
            text=text,
            usage=usage,
            model=self.model or self.request.model_name,
            finish="tool_calls" if calls and finish == "stop" else finish,
            request_id=request_id(self.headers) or self.answer_id[:200],
            seconds=time.perf_counter() - self._started,
            estimated=estimated,
            tool_calls=calls,
            carry=self.carry,
            api=self.api,
            limits=limits_from(self.headers),
        )

    def mark(self, error: ModelError) -> None:
        """Fill in what an error from below does not know: which call it was, and what was spent until then."""
        details = error.details
        for name, value in self.details().items():
            details.setdefault(name, value)
        if error.limits is None:
            error.limits = limits_from(self.headers)
        if self._pieces and error.usage is None:
            # A stream that broke was paid for as far as it came.
            error.usage = self._spent("".join(self._pieces))[0].to_json()

    def details(self) -> dict[str, Any]:
        """Provider, model and the request's id, for an error."""
        details: dict[str, Any] = {"provider": self.provider, "model": self.request.model_name}
        if found := request_id(self.headers) or self.answer_id[:200]:
            details["request_id"] = found
        return details

    def _spent(self, text: str) -> tuple[Usage, bool]:
        """(usage, whether it is an estimate)."""
        usage = self.usage
        if usage is not None and (usage.output_tokens or self.finish is not None or not text):
            return usage, False
        asked = usage.input_tokens if usage else estimate_messages(m.content for m in self.request.messages)
        return Usage(input_tokens=asked, output_tokens=estimate(text), cost=None, calls=1), True

    def _truncated(self, text: str, usage: Usage) -> ModelError:
        limit = self.request.max_tokens
        where = f"max_tokens ({limit})" if limit else "the model's own limit"
        hint = "Raise llm.max_tokens, or ask for less."
        if usage.reasoning_tokens and not text:
            hint = f"All of it was reasoning ({usage.reasoning_tokens} tokens). {hint}"
        return AnswerTruncated(
            f"{self.provider}: the answer of {self.request.model_name} stopped at {where}",
            hint=hint,
            details={**self.details(), "usage": usage.to_json(), "sample": text[:200]},
        )

    def _refused(self, text: str, usage: Usage) -> ModelError:
        filtered = self.finish == "refused"
        why = redacted(self.refusal, self.key)[:300] or "its content filter stopped the answer"
        details = {"usage": usage.to_json(), "sample": text[:200]}
        details["reason"] = "content_filter" if filtered else "refusal"
        return ModelRefused(f"{self.provider} refused: {why}", details={**self.details(), **details})

    def _made_calls(self, usage: Usage) -> tuple[ToolCall, ...]:
        made = []
        for n, (id, name, arguments) in enumerate(self._calls.values()):
            value = as_json(arguments.encode() or b"{}") if isinstance(arguments, str) else arguments
            if not isinstance(value, Mapping) or not name:
                raise AnswerUnreadable(
                    f"{self.provider}: the arguments of the tool call {name[:64]!r} are not a JSON object",
                    details={**self.details(), "sample": str(arguments)[:200], "usage": usage.to_json()},
                )
            made.append(ToolCall(id or f"call_{n}", name, value))
        return tuple(made)

    def _not_json(self, answer: Answer) -> ModelError:
        if "html" in answer.headers.get("content-type", ""):
            return ModelRefused(
                f"{self.provider} answered with a web page instead of JSON",
                hint=self.base_url_hint,
                details=self.details(),
            )
        return self.shapeless("the answer is not JSON, or not all of it")


def word(value: Any) -> str:
    """The value if it is a text, else ""."""
    return value if isinstance(value, str) else ""


def count(value: Any) -> int:
    """The value if it is a positive number, else 0."""
    return int(value) if isinstance(value, int | float) and value > 0 else 0


def part(value: Any, name: str) -> Mapping[str, Any]:
    """The mapping under a name, {} when there is none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def rows(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list, [] when it is none."""
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def used(
    input: int, output: int, *, cached: int = 0, written: int = 0, reasoning: int = 0, cost: float | None = None
) -> Usage:
    """The usage of one call, built without validation: it is done for every call."""
    return Usage.model_construct(
        input_tokens=input,
        output_tokens=output,
        cached_tokens=cached,
        cost=cost,
        calls=1,
        unknown=0,
        reasoning_tokens=reasoning,
        cache_write_tokens=written,
    )
