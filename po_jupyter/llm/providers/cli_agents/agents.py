"""The agent programs as data: how each is called, which variables it may see, how its output is read.

References: code.claude.com/docs/en/headless; developers.openai.com/codex/noninteractive and openai/codex
`codex-rs/exec/src/exec_events.rs`; opencode.ai/docs/cli and anomalyco/opencode `src/cli/cmd/run.ts`; read
2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from po_jupyter.llm.wire.json_fields import as_text, mapping_at
from po_jupyter.llm.wire.usage import anthropic_usage, reported_cost, token_count, usage_from
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonObject


@dataclass(slots=True)
class AgentOutput:
    """The output of an agent as far as it has been read.

    text     the answer
    session  the agent's name for the conversation
    error    why the agent failed, "" when it did not
    ended    it said that it is done
    """

    text: str = ""
    usage: Usage | None = None
    session: str = ""
    model: str = ""
    error: str = ""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class AgentProgram:
    """One program.

    program       its name on the PATH
    arguments     its arguments for (model, system prompt, stream)
    variables     the environment variables of its own that it may see
    read_line     reads a line of its output into an `AgentOutput`; the text that can be shown by now
    takes_system  it has an argument for the system prompt
    """

    program: str
    arguments: Callable[[str, str, bool], list[str]]
    variables: re.Pattern[str]
    read_line: Callable[[JsonObject, AgentOutput], str]
    takes_system: bool = False


def _claude_arguments(model: str, system: str, stream: bool) -> list[str]:
    arguments = ["-p", "--output-format"]
    arguments += ["stream-json", "--verbose", "--include-partial-messages"] if stream else ["json"]
    if model:
        arguments += ["--model", model]
    return [*arguments, "--system-prompt", system] if system else arguments


def _codex_arguments(model: str, system: str, stream: bool) -> list[str]:
    arguments = ["exec", "--json", "--skip-git-repo-check", "--sandbox", "read-only"]
    return [*arguments, *(["--model", model] if model else []), "-"]


def _opencode_arguments(model: str, system: str, stream: bool) -> list[str]:
    return ["run", "--format", "json", *(["--model", model] if model else [])]


def _read_claude(event: JsonObject, output: AgentOutput) -> str:
    kind = event.get("type")
    output.session = as_text(event.get("session_id")) or output.session
    if kind == "stream_event":
        delta = mapping_at(mapping_at(event, "event"), "delta")
        return as_text(delta.get("text")) if delta.get("type") == "text_delta" else ""
    if kind == "assistant":
        output.model = as_text(mapping_at(event, "message").get("model")) or output.model
    if kind != "result":
        return ""
    output.ended = True
    output.text = as_text(event.get("result"))
    usage = anthropic_usage(mapping_at(event, "usage"))
    output.usage = usage.model_copy(update={"cost": reported_cost(event.get("total_cost_usd"))})
    if event.get("is_error") or event.get("subtype") != "success":
        output.error = output.text or as_text(event.get("subtype")) or "it failed"
    return ""


def _read_codex(event: JsonObject, output: AgentOutput) -> str:
    kind = event.get("type")
    if kind == "thread.started":
        output.session = as_text(event.get("thread_id"))
    elif kind == "item.completed" and mapping_at(event, "item").get("type") == "agent_message":
        # Each message before the last one says what the agent is about to do: the last is the answer.
        output.text = as_text(mapping_at(event, "item").get("text"))
    elif kind == "turn.completed":
        usage = mapping_at(event, "usage")
        output.usage = usage_from(
            token_count(usage.get("input_tokens")),
            token_count(usage.get("output_tokens")),
            cached=token_count(usage.get("cached_input_tokens")),
            reasoning=token_count(usage.get("reasoning_output_tokens")),
        )
        output.ended = True
    elif kind == "turn.failed":
        output.error = as_text(mapping_at(event, "error").get("message")) or "the turn failed"
    elif kind == "error":
        output.error = as_text(event.get("message")) or "it failed"
    return ""


def _read_opencode(event: JsonObject, output: AgentOutput) -> str:
    kind, part = event.get("type"), mapping_at(event, "part")
    output.session = as_text(event.get("sessionID")) or output.session
    if kind == "text":
        output.text += as_text(part.get("text"))
        return as_text(part.get("text"))
    if kind == "step_finish":
        step = _opencode_usage(part)
        total = step if output.usage is None else output.usage + step
        output.usage = total.model_copy(update={"calls": 1})
        output.ended = True
    elif kind == "error":
        error = mapping_at(event, "error")
        message = as_text(mapping_at(error, "data").get("message"))
        output.error = message or as_text(error.get("name")) or "it failed"
    return ""


def _opencode_usage(part: Mapping[str, object]) -> Usage:
    """The usage of one step."""
    tokens = mapping_at(part, "tokens")
    cache = mapping_at(tokens, "cache")
    read, written = token_count(cache.get("read")), token_count(cache.get("write"))
    reasoning = token_count(tokens.get("reasoning"))
    return usage_from(
        token_count(tokens.get("input")) + read + written,
        token_count(tokens.get("output")) + reasoning,
        cached=read,
        written=written,
        reasoning=reasoning,
        cost=reported_cost(part.get("cost")),
    )


AGENTS: Mapping[str, AgentProgram] = {
    "claude-cli": AgentProgram(
        "claude", _claude_arguments, re.compile(r"ANTHROPIC_\w+|CLAUDE_\w+"), _read_claude, takes_system=True
    ),
    "codex-cli": AgentProgram(
        "codex", _codex_arguments, re.compile(r"OPENAI_(?:API_KEY|BASE_URL)|CODEX_\w+"), _read_codex
    ),
    "opencode-cli": AgentProgram("opencode", _opencode_arguments, re.compile(r"OPENCODE_\w+"), _read_opencode),
}
