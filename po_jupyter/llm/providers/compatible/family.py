"""The family of servers that speak OpenAI's Chat Completions, as data: their differences, by provider.

Sources, read 2026-11: api-docs.deepseek.com, platform.kimi.ai/docs, docs.z.ai and docs.bigmodel.cn,
alibabacloud.com/help/en/model-studio, docs.ollama.com/api/openai-compatibility, docs.vllm.ai, lmstudio.ai/docs,
llama.cpp tools/server/README.md, openrouter.ai/docs, console.groq.com/docs, docs.mistral.ai, docs.x.ai,
docs.together.ai, docs.fireworks.ai, inference-docs.cerebras.ai, huggingface.co/docs/inference-providers,
docs.perplexity.ai.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

# The field for effort: OpenAI's `reasoning_effort`; `thinking: {type}` on or off; `enable_thinking`
# true or false; `reasoning: {effort}`.
EffortStyle: TypeAlias = Literal["reasoning_effort", "thinking", "enable_thinking", "reasoning"]

OPENAI_REASONING = r"(?:ft:)?(?:gpt-(?:[5-9]|\d\d)(?!.*chat)|o\d|codex-)"


@dataclass(frozen=True, slots=True)
class Quirks:
    """The differences of one server's Chat Completions. Patterns are matched at the beginning of a model's name.

    schema          what `response_format` enforces: a `schema`, any `object`, or `nothing`; the rest goes as text
    schema_models   models that enforce a schema, where not all do; the others get the `object`
    no_format       models without `response_format`: schemas and JSON mode go as text
    strict          schemas that fit OpenAI's rules are sent with `strict: true`
    object_root     a schema's root must be an object: another is wrapped in one
    json_object     `response_format: json_object` exists
    fixed_sampling  models that refuse a temperature: none is sent
    own_limit       models whose limit is `max_completion_tokens`, not `max_tokens`
    most_stops      texts in `stop` at most; more are cut on this side
    hottest         the highest temperature; a higher one is sent as this
    no_stop         models without `stop`: the text is cut on this side
    effort          (models, style) pairs; the first that fits is used, without one no effort is sent
    efforts         names of efforts that differ from ours
    seed, stream_usage, forced_tools    `seed`, `stream_options` and a `tool_choice` other than auto and none exist
    extra           further fields of every body
    tiers           the names of service tiers, for servers that take them
    says_cost       `usage` has the cost of the call
    """

    schema: Literal["schema", "object", "nothing"] = "schema"
    schema_models: str = ""
    no_format: str = ""
    strict: bool = False
    object_root: bool = False
    json_object: bool = True
    fixed_sampling: str = ""
    own_limit: str = ""
    most_stops: int = 4
    hottest: float = 2.0
    no_stop: str = ""
    effort: tuple[tuple[str, EffortStyle], ...] = ()
    efforts: Mapping[str, str] = field(default_factory=dict)
    seed: bool = True
    stream_usage: bool = True
    forced_tools: bool = True
    extra: Mapping[str, object] = field(default_factory=dict)
    says_cost: bool = False
    tiers: Mapping[str, str] = field(default_factory=dict)

    def schema_style(self, model: str) -> Literal["schema", "object", "nothing"]:
        """The style of schema that `response_format` enforces with `model`."""
        if self.no_format and re.match(self.no_format, model):
            return "nothing"
        if self.schema == "schema" and self.schema_models and not re.match(self.schema_models, model):
            return "object"
        return self.schema

    def effort_style(self, model: str) -> EffortStyle | None:
        """The field for effort that `model` has; None: it has none."""
        return next((style for models, style in self.effort if re.match(models, model)), None)


OPENAI_TIERS: Mapping[str, str] = {"flex": "flex", "standard": "default", "priority": "priority"}

# Models of sound have no structured outputs (developers.openai.com, models `gpt-audio`; simonw/llm#794).
OPENAI = Quirks(
    no_format="gpt-audio",
    tiers=OPENAI_TIERS,
    strict=True,
    object_root=True,
    fixed_sampling=OPENAI_REASONING,
    own_limit=OPENAI_REASONING,
    no_stop=OPENAI_REASONING,
    effort=((OPENAI_REASONING, "reasoning_effort"),),
)

# gpt-oss knows low, medium and high.
_LOW_TO_HIGH = {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"}
# Servers with three steps only.
_THREE_STEPS = {"none": "low", "minimal": "low", "medium": "high", "xhigh": "max"}


_GLM = Quirks(
    schema="object",
    most_stops=1,
    hottest=1.0,
    effort=(
        (r"glm-(?:5\.[2-9]|[6-9])", "reasoning_effort"),
        (r"glm-(?:4\.[5-9]|5)", "thinking"),
    ),
    efforts=_THREE_STEPS,
    seed=False,
    stream_usage=False,  # it comes unasked, in the last event
    forced_tools=False,
)

# By the provider's name in `llm.specs`; a server that is not here has none.
QUIRKS: Mapping[str, Quirks] = {
    "deepseek": Quirks(
        schema="object",
        most_stops=16,
        effort=((r"deepseek-(?!chat|reasoner)", "thinking"),),
        seed=False,
    ),
    # Every kimi model has its sampling fixed by the platform; another value is an error.
    "moonshot": Quirks(
        schema="object",
        hottest=1.0,
        fixed_sampling=r"kimi-",
        own_limit=r"kimi-",
        effort=((r"kimi-k[3-9]", "reasoning_effort"), (r"kimi-k2\.[56](?!-code)", "thinking")),
        efforts=_THREE_STEPS,
        seed=False,
    ),
    "zai": _GLM,
    "zhipu": _GLM,
    "alibaba": Quirks(schema="object", effort=((r"qwen", "enable_thinking"),), forced_tools=False),
    # It says what a call cost, which beats any price list: providers behind it differ.
    "openrouter": Quirks(
        no_format="openai/gpt-audio",
        strict=True,
        object_root=True,
        effort=((r".", "reasoning"),),
        extra={"usage": {"include": True}},
        says_cost=True,
    ),
    # Most of its models only know JSON mode.
    "groq": Quirks(
        schema_models=r"openai/gpt-oss|meta-llama/llama-4|moonshotai/kimi",
        object_root=True,
        effort=((r"openai/gpt-oss", "reasoning_effort"),),
        efforts=_LOW_TO_HIGH,
    ),
    # Its seed is called random_seed; usage comes unasked, and a field that it does not know is an error.
    "mistral": Quirks(strict=True, object_root=True, hottest=1.5, seed=False, stream_usage=False),
    "xai": Quirks(
        strict=True,
        object_root=True,
        says_cost=True,
        no_stop=r"grok-(?:3-mini|4(?!.*non-reasoning)|[5-9])",
        effort=((r"grok-3-mini", "reasoning_effort"),),
        efforts={"none": "low", "minimal": "low", "medium": "high", "xhigh": "high", "max": "high"},
    ),
    "together": Quirks(
        object_root=True, effort=((r"openai/gpt-oss", "reasoning_effort"),), efforts=_LOW_TO_HIGH
    ),
    "fireworks": Quirks(object_root=True, effort=((r".*gpt-oss", "reasoning_effort"),), efforts=_LOW_TO_HIGH),
    "cerebras": Quirks(
        strict=True,
        object_root=True,
        own_limit=r".",
        effort=((r"gpt-oss", "reasoning_effort"),),
        efforts=_LOW_TO_HIGH,
    ),
    "huggingface": Quirks(
        object_root=True, effort=((r"openai/gpt-oss", "reasoning_effort"),), efforts=_LOW_TO_HIGH
    ),
    # It searches and answers: no tools, no seed, no JSON mode without a schema, and no texts to stop at.
    "perplexity": Quirks(
        object_root=True,
        json_object=False,
        no_stop=r".",
        seed=False,
        stream_usage=False,
        hottest=1.99,
        says_cost=True,  # with its searches, which no count of tokens has
    ),
    "ollama": Quirks(effort=((r".", "reasoning_effort"),)),
    "lmstudio": Quirks(json_object=False),
}
