"""Fields of requests that may be passed on: what is known to cost tokens that are counted, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from po_jupyter.hub.wires.operations import Api

# At the top of a body. What asks for work that no token count shows (searches, containers, other people's
# conversations, work in the background, a dearer lane) is left out; an administrator may add a field.
TOP: Mapping[Api, frozenset[str]] = {
    "chat": frozenset({
        "model", "messages", "temperature", "top_p", "top_k", "min_p", "n", "stream", "stream_options", "stop",
        "max_tokens", "max_completion_tokens", "presence_penalty", "frequency_penalty", "repetition_penalty",
        "logit_bias", "logprobs", "top_logprobs", "user", "seed", "random_seed", "response_format", "tools",
        "tool_choice", "parallel_tool_calls", "functions", "function_call", "reasoning_effort", "reasoning",
        "thinking", "enable_thinking", "thinking_budget", "reasoning_format", "include_reasoning", "verbosity",
        "metadata", "store", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "modalities",
        "usage", "chat_template_kwargs", "safe_prompt", "service_tier", "best_of",
    }),
    "responses": frozenset({
        "model", "input", "instructions", "max_output_tokens", "temperature", "top_p", "top_logprobs", "text",
        "reasoning", "tools", "tool_choice", "parallel_tool_calls", "stream", "stream_options", "store", "include",
        "metadata", "user", "truncation", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
        "service_tier", "max_tool_calls",
    }),
    "messages": frozenset({
        "model", "messages", "system", "max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "stream",
        "tools", "tool_choice", "thinking", "metadata", "output_config", "output_format", "service_tier",
        "cache_control",
    }),
    "gemini": frozenset({
        "contents", "systemInstruction", "generationConfig", "tools", "toolConfig", "safetySettings", "serviceTier",
    }),
    "embeddings": frozenset({
        "model", "input", "dimensions", "encoding_format", "user", "output_dimension", "output_dtype",
    }),
}  # fmt: skip

GEMINI_CONFIG = frozenset({
    "temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "seed", "presencePenalty",
    "frequencyPenalty", "responseMimeType", "responseSchema", "responseJsonSchema", "responseLogprobs", "logprobs",
    "thinkingConfig", "mediaResolution", "responseModalities", "enableEnhancedCivicAnswers",
})  # fmt: skip
GEMINI_EMBEDDING = frozenset({"model", "content", "taskType", "title", "outputDimensionality"})
GEMINI_PARTS = frozenset({
    "text", "inlineData", "functionCall", "functionResponse", "thought", "thoughtSignature",
})  # fmt: skip

GEMINI_FUNCTIONS = frozenset({"id", "name", "args", "response"})  # of functionCall and functionResponse

# `type` of the parts of a content, and below of the items of a Responses request. Files, sounds and references to what
# is kept at the vendor are left out: nothing here says how many tokens they are, or whose they are.
PARTS: Mapping[Api, frozenset[str]] = {
    "chat": frozenset({"text", "image_url", "refusal", "thinking", "reasoning"}),
    "responses": frozenset({
        "input_text", "output_text", "text", "input_image", "refusal", "summary_text", "reasoning_text",
    }),
    "messages": frozenset({"text", "image", "tool_use", "tool_result", "thinking", "redacted_thinking"}),
}  # fmt: skip
ITEMS = frozenset({
    "message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "reasoning",
})  # fmt: skip
# Fields of messages and parts by which some server takes something else than text, whatever the type says.
MEDIA = frozenset({
    "audio", "audio_url", "file", "file_data", "file_id", "file_url", "image", "image_embeds", "image_url",
    "input_audio", "uuid", "video", "video_url",
})  # fmt: skip
TOOLS: Mapping[Api, frozenset[str]] = {
    "chat": frozenset({"function", "custom"}),
    "responses": frozenset({"function", "custom"}),
    "messages": frozenset({"custom"}),
}

# Lanes at the price of the list, or below it.
SERVICE_TIERS = frozenset({"auto", "default", "standard", "flex", "standard_only", "unspecified"})
