"""The bounds of an answer in tokens: the answer itself and the room to think are two numbers, a vendor's limit one.

Every vendor's limit counts thoughts and answer together. So what is sent is the sum, no more than the model can:

    max_tokens            of the answer
    max_thinking_tokens   of the thoughts; by default after `effort`, 0 for a model that does not think

A model that thinks less may answer longer than `max_tokens`; such an answer is whole, and is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from po_jupyter.llm.chat import ChatRequest

# By effort, and by the models' own default. OpenAI's guide to reasoning advises to begin with 25,000 for both together.
ROOM: Mapping[str | None, int] = {
    None: 16_384,
    "none": 1024,  # of models that cannot leave it
    "minimal": 2048,
    "low": 4096,
    "medium": 16_384,
    "high": 32_768,
    "xhigh": 65_536,
    "max": 65_536,
}


class _Thinkers(NamedTuple):
    """Models of a provider that think, as patterns of their names: by default, with an effort, always."""

    by_default: str
    with_effort: str = "(?!)"
    always: str = "(?!)"


_GPT = r"(?:ft:)?(?:gpt-(?:[5-9]|\d\d)(?!.*chat)|o\d|codex-)"
_GPT_ALWAYS = r"(?:ft:)?(?:gpt-5(?!\.\d)|o\d|codex-)"
_GEMINI = r"gemini-(?:2\.[5-9]|[3-9]|\d\d|[a-z-]+-latest)"
_OPEN = (
    r"gpt-oss|qwq|magistral|grok-(?:3-mini|4(?!.*non-reasoning)|[5-9])|sonar-(?:reasoning|deep)|deepseek-(?:r1|v4)|"
    r"qwen-?3(?!.*(?:instruct|coder|max|plus|flash))|kimi-k(?:2\.[5-9]|[3-9])|glm-(?:4\.[5-9]|[5-9])|minimax-m\d|"
    r".*(?:thinking|(?<!non-)reason)"
)
_ANY = _Thinkers(
    f"{_GPT}|{_GEMINI}|{_OPEN}", r"qwen|claude-", rf"{_GPT_ALWAYS}|gemini-.*pro|gpt-oss|deepseek-r1|qwq"
)
_BY_PROVIDER: Mapping[str, _Thinkers] = {
    "anthropic": _Thinkers(
        r".*claude-(?:[a-z]+-)?(?:[5-9]|\d\d)(?!\d)|.*claude-[a-z]+-preview",
        r".*claude-(?:3-7|[a-z]+-(?:[4-9]|\d\d(?!\d)|preview))",
    ),
    "bedrock": _Thinkers(
        r".*(?:claude-(?:[a-z]+-)?(?:[5-9]|\d\d)(?!\d)|claude-[a-z]+-preview|openai\.gpt-|deepseek\.r1|thinking|magistral)",
        r".*(?:claude-(?:3-7|[a-z]+-(?:[4-9]|\d\d(?!\d)|preview))|nova-2|qwen3)",
        r".*(?:openai\.gpt-|deepseek\.r1)",
    ),
    "gemini": _Thinkers(_GEMINI, always=r"gemini-(?:.*pro|[3-9]|\d\d|[a-z-]+-latest)"),
    "deepseek": _Thinkers(r"deepseek-(?!chat)", always="deepseek-reasoner"),
    "alibaba": _Thinkers(r".*thinking|qwq", "qwen"),
    "fake": _Thinkers("(?!)"),
    "local": _Thinkers("(?!)"),
    "claude-cli": _Thinkers("(?!)"),
    "codex-cli": _Thinkers("(?!)"),
    "opencode-cli": _Thinkers("(?!)"),
}
_CLAUDES = (
    (r".*claude-3-(?:opus|sonnet|haiku)|.*claude-(?:2|instant)", 4096),
    (r".*claude-3-5", 8192),
    (r".*claude-opus-4(?:-[01])?(?:-\d{8}|@|$)", 32_000),
    (r".*claude-(?:3-7|[a-z]+-4(?:[-.]5)?(?!\d)(?![-.]\d(?!\d)))", 64_000),
)
# The most that a model writes, where that is less than 128,000 or so: the vendors' pages of models, 2026-11.
_MOST: Mapping[str, tuple[tuple[str, int], ...]] = {
    "openai": (
        (r"gpt-3\.5|gpt-4-|gpt-4o-2024-05-13|gpt-4$", 4096),
        (r"chatgpt-4o|gpt-4o|gpt-5(?:\.\d)?-chat", 16_384),
        (r"gpt-4\.1|o1-preview", 32_768),
        (r"o1-mini", 65_536),
        (r"o\d|codex-", 100_000),
    ),
    "anthropic": _CLAUDES,
    "bedrock": (*_CLAUDES, (r".*nova-(?:micro|lite|pro|premier)", 10_000)),
    "gemini": ((r"gemini-(?:1|2\.0|exp)|gemma", 8192), (r"gemini", 65_536)),
    "deepseek": ((r"deepseek-chat", 8192), (r"deepseek", 65_536)),
    "alibaba": ((r"qwen", 32_768),),
    "moonshot": ((r"kimi-k2(?!\.)", 32_768),),
}


_SAME_MODELS: Mapping[str, str] = {"azure": "openai", "vertex": "gemini"}


def thinks(ref: str, effort: str | None) -> bool:
    """True when a model with this `effort` will think before it answers."""
    return _thinks(ref, effort)


@lru_cache(maxsize=1024)
def _thinks(ref: str, effort: str | None) -> bool:
    provider, _, model = ref.partition(":")
    name = model.lower() if provider in _BY_PROVIDER else model.lower().rpartition("/")[2]
    provider = _SAME_MODELS.get(provider, provider)
    thinkers = _BY_PROVIDER.get(provider, _ANY)
    if effort == "none":
        return re.match(thinkers.always, name) is not None
    if re.match(thinkers.by_default, name) is not None:
        return True
    return effort is not None and re.match(thinkers.with_effort, name) is not None


def thinking_room(request: ChatRequest) -> int:
    """The tokens that a model may think; 0 for one that does not."""
    if request.embed or not thinks(request.model, request.effort):
        return 0
    return ROOM[request.effort] if request.max_thinking_tokens is None else request.max_thinking_tokens


def output_limit(request: ChatRequest) -> int | None:
    """The limit of a request's whole output, as it is sent, reserved and paid for; None: the request sets none."""
    if request.embed:
        return 0  # a vector has no tokens
    if request.max_tokens is None:
        return None
    most = model_limit(request.model)
    total = request.max_tokens + thinking_room(request)
    return total if most is None else min(total, most)


@lru_cache(maxsize=1024)
def model_limit(ref: str) -> int | None:
    """The most tokens that a model writes in one answer; None: it is not known, or large."""
    provider, _, model = ref.partition(":")
    rows = _MOST.get(_SAME_MODELS.get(provider, provider), ())
    return next((most for pattern, most in rows if re.match(pattern, model)), None)
