"""The family of servers that speak OpenAI's Chat Completions, as data: where they listen and where they differ.

Sources, read 2026-11: api-docs.deepseek.com, platform.kimi.ai/docs, docs.z.ai and docs.bigmodel.cn,
alibabacloud.com/help/en/model-studio, docs.ollama.com/api/openai-compatibility, docs.vllm.ai, lmstudio.ai/docs,
llama.cpp tools/server/README.md, openrouter.ai/docs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

# How a server is told to reason: OpenAI's `reasoning_effort`; `thinking: {type}` on or off; `enable_thinking`
# true or false; `reasoning: {effort}`.
EffortStyle: TypeAlias = Literal["reasoning_effort", "thinking", "enable_thinking", "reasoning"]

OPENAI_REASONING = r"(?:gpt-(?:[5-9]|\d\d)(?!.*chat)|o\d)"


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where one server's Chat Completions differ. Patterns are matched at the beginning of a model's name.

    schema          what `response_format` enforces: a `schema`, any `object`, or `nothing`; the rest is told
    json_object     whether `response_format: json_object` exists
    fixed_sampling  models that refuse a temperature: none is sent
    own_limit       models whose bound is `max_completion_tokens`, not `max_tokens`
    no_stop         models without `stop`: the text is cut here
    effort          (models, style) pairs; the first that fits is used, without one nothing is said
    efforts         words for an effort that differ from ours
    seed, stream_usage, forced_tools    whether `seed`, `stream_options` and a `tool_choice` other than auto and
                    none are known
    ends            finish reasons of its own: `refused` or `failed`
    extra           what every body has besides
    says_cost       whether `usage.cost` is what the call cost, in US dollars
    """

    schema: Literal["schema", "object", "nothing"] = "schema"
    json_object: bool = True
    fixed_sampling: str = ""
    own_limit: str = ""
    no_stop: str = ""
    effort: tuple[tuple[str, EffortStyle], ...] = ()
    efforts: Mapping[str, str] = field(default_factory=dict)
    seed: bool = True
    stream_usage: bool = True
    forced_tools: bool = True
    ends: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    says_cost: bool = False

    def effort_style(self, model: str) -> EffortStyle | None:
        """How `model` is told how much to reason; None: it is not."""
        return next((style for models, style in self.effort if re.match(models, model)), None)


OPENAI = Quirks(
    fixed_sampling=OPENAI_REASONING,
    own_limit=OPENAI_REASONING,
    no_stop=OPENAI_REASONING,
    effort=((OPENAI_REASONING, "reasoning_effort"),),
)

# Servers with three steps only.
_THREE_STEPS = {"none": "low", "minimal": "low", "medium": "high", "xhigh": "max"}


@dataclass(frozen=True, slots=True)
class Family:
    """One member: what `Spec` needs, and its quirks. `own`: it runs on the user's machines, without a bill."""

    name: str
    base_url: str
    key_env: str
    base_env: str
    example: str
    quirks: Quirks
    price_id: str = ""
    own: bool = False
    images: bool = True


FAMILY: tuple[Family, ...] = (
    Family(
        "deepseek", "https://api.deepseek.com", "DEEPSEEK_API_KEY", "DEEPSEEK_BASE_URL",
        "deepseek:deepseek-chat",
        Quirks(
            schema="object",
            effort=((r"deepseek-(?!chat|reasoner)", "thinking"),),
            seed=False,
            ends={"insufficient_system_resource": "failed"},
        ),
        price_id="deepseek",
        images=False,
    ),
    Family(
        "moonshot", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", "MOONSHOT_BASE_URL",
        "moonshot:kimi-k2.5",
        # Every kimi model has its sampling fixed by the platform; another value is an error.
        Quirks(
            schema="object",
            fixed_sampling=r"kimi-",
            own_limit=r"kimi-",
            effort=((r"kimi-k[3-9]", "reasoning_effort"), (r"kimi-k2\.[56](?!-code)", "thinking")),
            efforts=_THREE_STEPS,
            seed=False,
        ),
        price_id="moonshotai",
    ),
    Family(
        "zai", "https://api.z.ai/api/paas/v4", "ZAI_API_KEY", "ZAI_BASE_URL", "zai:glm-4.6",
        (_GLM := Quirks(
            schema="object",
            effort=(
                (r"glm-(?:5\.[2-9]|[6-9])", "reasoning_effort"),
                (r"glm-(?:4\.[5-9]|5)", "thinking"),
            ),
            efforts=_THREE_STEPS,
            seed=False,
            stream_usage=False,  # it comes unasked, in the last event
            forced_tools=False,
            ends={"sensitive": "refused", "network_error": "failed", "model_context_window_exceeded": "length"},
        )),
        price_id="zai",
    ),
    Family(
        "zhipu", "https://open.bigmodel.cn/api/paas/v4", "ZHIPU_API_KEY", "ZHIPU_BASE_URL", "zhipu:glm-4.6",
        _GLM,
        price_id="zhipuai",
    ),
    Family(
        "alibaba", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY",
        "DASHSCOPE_BASE_URL", "alibaba:qwen-plus",
        Quirks(schema="object", effort=((r"qwen", "enable_thinking"),), forced_tools=False),
        price_id="alibaba",
    ),
    Family(
        "openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "OPENROUTER_BASE_URL",
        "openrouter:openai/gpt-5-mini",
        # It says what a call cost, which beats any price list: providers behind it differ.
        Quirks(
            effort=((r".", "reasoning"),), ends={"error": "failed"}, extra={"usage": {"include": True}},
            says_cost=True,
        ),
        price_id="openrouter",
    ),
    Family(
        "ollama", "http://127.0.0.1:11434/v1", "OLLAMA_API_KEY", "OLLAMA_BASE_URL", "ollama:qwen3:4b",
        Quirks(effort=((r".", "reasoning_effort"),)), own=True,
    ),
    Family(
        "vllm", "http://127.0.0.1:8000/v1", "VLLM_API_KEY", "VLLM_BASE_URL", "vllm:Qwen/Qwen3-4B", Quirks(),
        own=True,
    ),
    Family(
        "lmstudio", "http://127.0.0.1:1234/v1", "LMSTUDIO_API_KEY", "LMSTUDIO_BASE_URL", "lmstudio:qwen3-4b",
        Quirks(json_object=False), own=True,
    ),
    Family(
        "llamacpp", "http://127.0.0.1:8080/v1", "LLAMACPP_API_KEY", "LLAMACPP_BASE_URL", "llamacpp:any",
        Quirks(), own=True,
    ),
)  # fmt: skip

# Other names that people try; the error for an unknown provider points on.
ALSO_CALLED = {
    "qwen": "alibaba", "dashscope": "alibaba", "kimi": "moonshot", "google": "gemini", "claude": "anthropic",
    "glm": "zai", "z.ai": "zai", "zhipuai": "zhipu", "llama.cpp": "llamacpp", "llama-cpp": "llamacpp",
    "lm-studio": "lmstudio", "chatgpt": "openai", "gpt": "openai",
}  # fmt: skip
