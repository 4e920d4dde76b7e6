"""The reader of one response in any wire format: collects what has come, and makes the response or the typed error.

A wire format subclasses `ResponseReader` and says what a whole body and one event of a stream mean; status, errors,
truncation, refusals, missing usage and broken streams are the same for all and are handled here.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Hashable, Mapping
from typing import ClassVar

from po_jupyter.errors import (
    AnswerEmpty,
    AnswerTruncated,
    AnswerUnreadable,
    ModelError,
    ModelRefused,
    ModelUnavailable,
)
from po_jupyter.llm.bounds import thinking_room
from po_jupyter.llm.chat import ChatRequest, ChatResponse, ToolCall
from po_jupyter.llm.logprobs import TokenLogprob
from po_jupyter.llm.money.service_tiers import tier_in_answer
from po_jupyter.llm.rate_limits.headers import limits_from
from po_jupyter.llm.structured.openai_schema import unwrap
from po_jupyter.llm.wire.bodies import HttpResponse, ResponseStream, decode_json, server_sent_events
from po_jupyter.llm.wire.ends import is_known
from po_jupyter.llm.wire.errors import error_from_response, redact, response_request_id, status_of_error
from po_jupyter.llm.wire.headers import AnswerHeaders
from po_jupyter.llm.wire.stop_sequences import StopCutter
from po_jupyter.llm.wire.usage import checked_usage
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonObject


class _ToolCallPieces:
    """A tool call as far as it has come: `arguments` is text that grows, or a whole mapping."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: str | Mapping[str, object] = ""


class ResponseReader:
    """The reader of one response; a subclass fills the fields below in `read_body` and `read_event`.

    usage          as the provider counted it; None until it said so
    logprobs       of the answer's tokens, where they were asked for
    finish         None until the provider said why the answer ended, then an end of `llm.wire.ends`, or another
                   word of the provider's own
    model          the model that answered
    service_tier   the tier that the answer names, by our name for it (`llm.money.service_tiers`); "" for none
    answer_id      the provider's name for the answer, used where no header names the request
    refusal        the provider's words for why it did not answer
    carry          see `llm.chat.Message`
    cutter         cuts the text at stop sequences that the API does not know
    ended          the stream said that it is over
    wrapped        the answer is one level down in the JSON (`llm.structured.openai_schema`): it is taken out, and a
                   stream shows it at its end
    keep_cut_text  text that stopped at `max_tokens` is an answer, not an AnswerTruncated
    """

    base_url_hint: ClassVar[str] = "Check the base URL."
    api: ClassVar[str] = ""

    def __init__(self, provider: str, request: ChatRequest, key: str | None, key_env: str) -> None:
        """`key` is taken out of every error; `key_env` is the variable that errors about the key name."""
        self.provider = provider
        self.request = request
        self.key = key
        self.key_env = key_env
        self.headers: Mapping[str, str] = {}
        self.ended = False
        self.keep_cut_text = False
        self.wrapped = False
        self.cutter: StopCutter | None = None
        self.usage: Usage | None = None
        self.logprobs: list[TokenLogprob] = []
        self.finish: str | None = None
        self.model = ""
        self.service_tier = ""
        self.answer_id = ""
        self.refusal = ""
        self.carry: JsonObject | None = None
        self._tool_calls: dict[Hashable, _ToolCallPieces] = {}
        self._pieces: list[str] = []
        self._started = time.perf_counter()

    # -- the hooks of a wire format ----------------------------------------------------------------
    def read_body(self, body: JsonObject) -> str:
        """The text of a whole body; everything else in it goes into the fields."""
        raise NotImplementedError

    def read_event(self, event: JsonObject) -> str:
        """The text of one event of a stream, "" when it brings none; everything else goes into the fields."""
        raise NotImplementedError

    def events(self, response: ResponseStream) -> AsyncIterator[bytes]:
        """The data of each event of a stream. The default reads server-sent events."""
        return server_sent_events(response)

    def read_usage(self, body: JsonObject) -> None:
        """Take over the usage in a body or an event that holds an error. The default takes none."""

    def before_response(self) -> None:
        """Called once, after the last body or event and before the response is made."""

    # -- what the hooks call -------------------------------------------------------------------------
    def add_tool_call(
        self, index: Hashable, *, id: str = "", name: str = "", arguments: str | Mapping[str, object] = ""
    ) -> None:
        """Add a tool call, or a further piece of it: `arguments` as text are appended, a mapping is whole."""
        call = self._tool_calls.setdefault(index, _ToolCallPieces())
        call.id = call.id or id
        call.name = call.name or name
        if isinstance(arguments, str) and isinstance(call.arguments, str):
            call.arguments += arguments
        else:
            call.arguments = arguments

    @property
    def has_tool_calls(self) -> bool:
        """True when the model calls a tool."""
        return bool(self._tool_calls)

    def malformed(self, problem: str = "the answer has no message") -> ModelError:
        """The error for JSON that is not what the API's reference describes."""
        return ModelUnavailable(f"{self.provider}: {problem}", details=self.error_details(), outcome="unknown")

    def error_inside(self, error: object, status: int | None = None) -> ModelError:
        """The error for an error object in a body with status 200, as proxies and streams send it."""
        status = status_of_error(error) if status is None else status
        body = json.dumps({"error": error}).encode()
        headers = AnswerHeaders({k: v for k, v in self.headers.items() if k.lower() != "content-type"})
        return self.error_from(HttpResponse(status, headers, body))

    # -- the same for all wire formats ---------------------------------------------------------------
    def error_from(self, response: HttpResponse) -> ModelError:
        """The error for a response whose status is not 200."""
        model = self.request.model_name
        error = error_from_response(
            response, provider=self.provider, model=model, key=self.key, key_env=self.key_env
        )
        error.limits = limits_from(response.headers)
        return error

    def read_response(self, response: HttpResponse) -> ChatResponse:
        """The response in a whole body. Raises a ModelError."""
        if response.status != 200:
            raise self.error_from(response)
        self.headers = response.headers
        body = decode_json(response.body)
        if not isinstance(body, dict):
            raise self._not_json(response)
        if body.get("error"):
            self.read_usage(body)
            raise self.error_inside(body["error"])
        self._add_text(self.read_body(body))
        return self._finished()

    def feed(self, data: bytes) -> str:
        """Read the data of one event of a stream; the text that can be shown by now. Raises a ModelError."""
        data = data.strip()
        if data == b"[DONE]":
            self.ended = True
            return ""
        if not data:
            return ""  # `data:` with nothing: a sign of life
        event = decode_json(data)
        if not isinstance(event, dict):
            raise self.malformed("the stream holds an event that is not JSON")
        if event.get("error"):
            self.read_usage(event)
            raise self.error_inside(event["error"])
        return self._add_text(self.read_event(event))

    def feed_after_error(self, data: bytes) -> None:
        """Read the data of an event that follows an error in the stream, for its usage alone."""
        event = decode_json(data)
        if isinstance(event, dict):
            self.read_usage(event)

    def flush(self) -> str:
        """The text that is still buffered: in case a stop sequence followed, or to be unwrapped."""
        rest = self.cutter.flush() if self.cutter is not None else ""
        if rest:
            self._pieces.append(rest)
        if self.wrapped:
            self.wrapped = False
            rest = unwrap("".join(self._pieces))
            self._pieces = [rest]
        return rest

    def finish_stream(self) -> ChatResponse:
        """The response, after the last event. Raises ModelUnavailable when the stream broke off."""
        if self.finish is None and not self.ended:
            size = sum(map(len, self._pieces))
            raise ModelUnavailable(
                f"{self.provider}: the stream broke off after {size} characters", outcome="unknown"
            )
        return self._finished()

    def annotate(self, error: ModelError) -> None:
        """Add to an error from a lower layer which call failed, and the usage until then."""
        details = error.details
        for name, value in self.error_details().items():
            details.setdefault(name, value)
        if error.limits is None:
            error.limits = limits_from(self.headers)
        # An answer that broke was paid for as far as it came; with an error inside it the server's count may be whole.
        counted = self.usage is not None and error.http_status is not None
        if error.usage is None and (self._pieces or counted):
            error.usage = self._usage_or_estimate("".join(self._pieces))[0].to_json()

    def error_details(self) -> JsonObject:
        """Provider, model and the request's id, for an error."""
        details: JsonObject = {"provider": self.provider, "model": self.request.model_name}
        if request := response_request_id(self.headers) or self.answer_id[:200]:
            details["request_id"] = request
        if tier := self._served_on():
            details["service_tier"] = tier
        return details

    def _add_text(self, piece: str) -> str:
        """Keep a piece of text; the part of it that can be shown by now."""
        if self.cutter is not None:
            piece = self.cutter.feed(piece)
        if piece:
            self._pieces.append(piece)
        return "" if self.wrapped else piece

    def _finished(self) -> ChatResponse:
        """The response, or the typed error that the end of the answer means."""
        self.flush()
        self.before_response()
        text = "".join(self._pieces)
        finish = self.finish or "stop"
        usage, estimated = self._usage_or_estimate(text)
        if self.cutter is not None and self.cutter.hit:
            finish = "stop"
        self._raise_for_finish(finish, text, usage)
        tool_calls = self._made_tool_calls(usage)
        return ChatResponse(
            text=text,
            usage=usage,
            model=self.model or self.request.model_name,
            finish="tool_calls" if tool_calls and finish == "stop" else finish,
            request_id=response_request_id(self.headers) or self.answer_id[:200],
            seconds=time.perf_counter() - self._started,
            estimated=estimated,
            tool_calls=tool_calls,
            carry=self.carry,
            api=self.api,
            service_tier=self._served_on(),
            logprobs=tuple(self.logprobs),
            limits=limits_from(self.headers),
        )

    def _served_on(self) -> str:
        """The tier that is worth a word: one that the request set, or another than the standard one."""
        named = self.request.service_tier is not None
        return self.service_tier if named or self.service_tier != "standard" else ""

    def read_tier(self, name: object) -> None:
        """Take over the service tier that an answer names, by the vendor's word for it."""
        self.service_tier = tier_in_answer(name) or self.service_tier

    def _raise_for_finish(self, finish: str, text: str, usage: Usage) -> None:
        """Raise the error of an answer that was cut, abandoned or refused."""
        if finish == "length" and not self.keep_cut_text:
            raise self._truncated(text, usage)
        if finish == "failed":
            raise ModelUnavailable(
                f"{self.provider} gave up in the middle of its answer"
                + (f": {redact(self.refusal, self.key)[:300]}" if self.refusal else ""),
                details={**self.error_details(), "usage": usage.to_json()},
            )
        if finish == "refused" or (self.refusal and not text):
            raise self._refused(text, usage)
        if not is_known(finish) and not text and not self.has_tool_calls:
            raise AnswerEmpty(
                f"{self.provider}: the answer of {self.request.model_name} ended with {finish!r:.80} and no text",
                details={**self.error_details(), "usage": usage.to_json(), "reason": finish[:100]},
            )

    def _usage_or_estimate(self, text: str) -> tuple[Usage, bool]:
        """(usage, True when it is an estimate)."""
        whole = self.finish is not None or self.ended
        calls = "".join(f"{call.name}{call.arguments}" for call in self._tool_calls.values())
        return checked_usage(self.usage, self.request, text + calls, whole=whole)

    def _truncated(self, text: str, usage: Usage) -> ModelError:
        request, thoughts = self.request, usage.reasoning_tokens
        room, bound = thinking_room(request), request.max_tokens
        # Thoughts that no server counted are those of an answer that never began.
        in_thinking = thoughts >= room > 0 or bool(thoughts and not text) or (room > 0 and not text)
        if bound is not None and thoughts and usage.output_tokens - thoughts >= bound:
            in_thinking = False
        part = "the thinking" if in_thinking else "the answer"
        limit = f"max_tokens ({bound})" if bound else "the model's own limit"
        hint = "Raise llm.max_tokens, or ask for less."
        if in_thinking:
            limit = f"max_thinking_tokens ({room})" if bound and room else limit
            hint = "Raise llm.max_thinking_tokens, or ask for less `effort`."
        if thoughts and not text:
            hint = f"All of it was reasoning ({thoughts} tokens). {hint}"
        return AnswerTruncated(
            f"{self.provider}: {part} of {request.model_name} stopped at {limit}",
            hint=hint,
            details={
                **self.error_details(),
                "usage": usage.to_json(),
                "sample": text[:200],
                "spent": "thinking" if in_thinking else "answer",
            },
        )

    def _refused(self, text: str, usage: Usage) -> ModelError:
        filtered = self.finish == "refused"
        reason = redact(self.refusal, self.key)[:300] or "its content filter stopped the answer"
        details: JsonObject = {"usage": usage.to_json(), "sample": text[:200]}
        details["reason"] = "content_filter" if filtered else "refusal"
        return ModelRefused(f"{self.provider} refused: {reason}", details={**self.error_details(), **details})

    def _made_tool_calls(self, usage: Usage) -> tuple[ToolCall, ...]:
        tool_calls = []
        for n, call in enumerate(self._tool_calls.values()):
            arguments = call.arguments
            value = decode_json(arguments.encode() or b"{}") if isinstance(arguments, str) else arguments
            if not isinstance(value, Mapping) or not call.name:
                raise AnswerUnreadable(
                    f"{self.provider}: the arguments of the tool call {call.name[:64]!r} are not a JSON object",
                    details={**self.error_details(), "sample": str(arguments)[:200], "usage": usage.to_json()},
                )
            tool_calls.append(ToolCall(call.id or f"call_{n}", call.name, value))
        return tuple(tool_calls)

    def _not_json(self, response: HttpResponse) -> ModelError:
        if "html" in response.headers.get("content-type", ""):
            return ModelRefused(
                f"{self.provider} answered with a web page instead of JSON",
                hint=self.base_url_hint,
                details={**self.error_details(), "page": True},
            )
        return self.malformed("the answer is not JSON, or not all of it")
