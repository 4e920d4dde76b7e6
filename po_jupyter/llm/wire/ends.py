"""The ends of answers: one table of every vendor's words for why an answer ended, and what of them is an answer.

    stop         the model said that it is done
    tool_calls   it wants tools called
    length       a bound cut it: an AnswerTruncated
    refused      the model or a filter declined: a ModelRefused, asking again does not help
    failed       the server gave up, whatever text came before: a ModelUnavailable, worth another try

Any other word is kept as it is: with text it is an answer that is never cached, without it an AnswerEmpty. An answer
that ended well and holds nothing but thoughts, or only calls of tools that nobody offered, is an AnswerEmpty too.

Sources, 2026-11: the enumerations of the vendors' SDKs (openai 3.57, anthropic 2.14, google-genai 3.6), the model of
bedrock-runtime in botocore 1.44, the references named in `providers.compatible.family`, and docs.mistral.ai,
docs.together.ai, docs.vllm.ai.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

from po_jupyter.errors import AnswerEmpty
from po_jupyter.llm.chat import ChatRequest, ChatResponse

End: TypeAlias = Literal["stop", "tool_calls", "length", "refused", "failed"]

ENDS: Mapping[str, End] = {
    # Chat Completions, and the words of servers that speak it
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "model_length": "length",
    "content_filter": "refused",
    "sensitive": "refused",
    "error": "failed",
    "network_error": "failed",
    "insufficient_system_resource": "failed",
    "abort": "failed",
    "aborted": "failed",
    "cancelled": "failed",
    "timeout": "failed",
    # Responses: the reasons of an incomplete response, and its states
    "completed": "stop",
    "max_output_tokens": "length",
    "max_messages": "failed",
    "steered": "failed",
    "incomplete": "failed",
    "in_progress": "failed",
    "queued": "failed",
    # Messages
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refused",
    "pause_turn": "failed",  # a turn of the vendor's own tools, which are never offered
    # Converse
    "guardrail_intervened": "refused",
    "content_filtered": "refused",
    "malformed_model_output": "failed",
    "malformed_tool_use": "failed",
    # Gemini
    "safety": "refused",
    "recitation": "refused",
    "language": "refused",
    "blocklist": "refused",
    "prohibited_content": "refused",
    "spii": "refused",
    "model_armor": "refused",
    "image_safety": "refused",
    "image_prohibited_content": "refused",
    "image_recitation": "refused",
    "escalation": "refused",
    "pup_limited_disabled": "refused",
    "missing_thought_signature": "refused",  # the request's fault: the next try would be the same
    "other": "failed",
    "image_other": "failed",
    "no_image": "failed",
    "malformed_function_call": "failed",
    "malformed_response": "failed",
    "unexpected_tool_call": "failed",
    "too_many_tool_calls": "failed",
}
_KNOWN = frozenset({"stop", "tool_calls", "length", "refused", "failed"})
# All up to the last end of a thought is thought; one that is never closed goes on to the end.
_THOUGHTS = re.compile(r"\A.*</think(?:ing)?\s*>", re.DOTALL | re.IGNORECASE)
_OPEN_THOUGHT = re.compile(r"\A\s*<think(?:ing)?\s*>", re.IGNORECASE)
_CHANNEL = "<|channel|>"  # gpt-oss writes thoughts into channels of their own; only `final` is for people


def end_of(reason: str) -> str:
    """The end that a vendor's word means: an `End`, or the word itself in lower case when nobody knows it."""
    reason = reason.lower()
    return ENDS.get(reason, reason)


def is_known(finish: str) -> bool:
    """True for an `End`."""
    return finish in _KNOWN


def check_not_empty(response: ChatResponse, request: ChatRequest) -> None:
    """Raise AnswerEmpty, with the usage, for a response that holds no answer."""
    if reason := _empty_because(response, request):
        raise AnswerEmpty(
            f"{request.provider}: {request.model_name} gave no answer: {reason}",
            hint="If nothing may be the right answer, ask for a word that says so (NONE).",
            details={
                "provider": request.provider,
                "model": response.model or request.model_name,
                "usage": response.usage.to_json(),
                "sample": response.text[:200],
                **({"request_id": response.request_id} if response.request_id else {}),
            },
        )


def _empty_because(response: ChatResponse, request: ChatRequest) -> str:
    """The reason why a response holds no answer, as text; "" when it holds one."""
    if response.tool_calls:
        names = ", ".join(dict.fromkeys(f"{call.name:.64}" for call in response.tool_calls))
        return "" if request.tools else f"it wants tools called ({names}), and none were offered"
    if not response.text.strip():
        if response.finish not in ("stop", "length"):
            return f"it ended with {response.finish!r:.80} and without a text"
        return "it only thought" if response.usage.reasoning_tokens else "it ended without a text"
    return "it only thought" if _only_thought(response.text) else ""


def _only_thought(text: str) -> bool:
    if "<" not in text:
        return False
    if _CHANNEL in text:
        return f"{_CHANNEL}final" not in text and f"{_CHANNEL}analysis" in text
    rest = _THOUGHTS.sub("", text, count=1)
    return not rest.strip() or _OPEN_THOUGHT.match(rest) is not None
