"""CLI agents as providers: Claude Code, Codex and OpenCode, through the programs that people have installed.

References: code.claude.com/docs/en/headless; developers.openai.com/codex/noninteractive and openai/codex
`codex-rs/exec/src/exec_events.rs`; opencode.ai/docs/cli and anomalyco/opencode `src/cli/cmd/run.ts`; read
2026-11.

An agent may read files and run commands as its own configuration allows, so whoever starts a run with one needs
the scope `code:run`, and they are off unless the setting `cli_agents` is on. It is started in an empty
directory of its own, in a process group of its own, with an allow-listed environment; the prompt goes through
stdin, never through the command line. One call of ours is one start; how many requests the agent makes is its
own affair. Temperature, limits, stop, seed, tools and images are unknown to it: stop sequences are cut here, a
schema is told in words, the others are left out (images and tools are refused). `NAME:default` is the agent's
own choice of a model.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from po_jupyter.errors import ModelError, ModelKeyError, ModelRateLimited, ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.llm.money.tokens import estimate
from po_jupyter.llm.providers.anthropic import messages as anthropic
from po_jupyter.llm.structured.dialects import JSON_ONLY, told
from po_jupyter.llm.wire.bodies import MAX_ANSWER, as_json
from po_jupyter.llm.wire.errors import redacted
from po_jupyter.llm.wire.response_reader import count, part, used, word
from po_jupyter.llm.wire.stop_sequences import StopCutter
from po_jupyter.model.run.usage import Usage

TIMEOUT = 600.0  # seconds: an agent thinks in several steps
_MAX_STDERR = 64 * 1024
_GRACE = 2.0  # seconds between asking an agent to stop and ending it
_ENVIRONMENT = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|XDG_\w+|SSL_CERT_\w+|(?i:\w+_proxy)"
)
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,127}")  # never an option of the program
_TRANSIENT = re.compile(r"overloaded|unavailable|timed? ?out|econn|network|\b5\d\d\b", re.I)
_LIMITED = re.compile(r"rate.?limit|too many requests|usage limit|\b429\b", re.I)
_KEY = re.compile(r"api key|log ?in|unauthorized|authenticat|credential|\b401\b", re.I)


@dataclass(slots=True)
class _Heard:
    """What an agent said so far."""

    text: str = ""
    usage: Usage | None = None
    session: str = ""
    model: str = ""
    error: str = ""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Agent:
    """One program: how it is called, which variables are its own, how a line of its output is read.

    `hear(line, heard)` gives the text that may be shown now.
    """

    program: str
    arguments: Callable[[str, str, bool], list[str]]
    own: re.Pattern[str]
    hear: Callable[[Mapping[str, Any], _Heard], str]
    takes_system: bool = False


def _claude(model: str, system: str, stream: bool) -> list[str]:
    arguments = ["-p", "--output-format"]
    arguments += ["stream-json", "--verbose", "--include-partial-messages"] if stream else ["json"]
    if model:
        arguments += ["--model", model]
    return [*arguments, "--system-prompt", system] if system else arguments


def _codex(model: str, system: str, stream: bool) -> list[str]:
    arguments = ["exec", "--json", "--skip-git-repo-check", "--sandbox", "read-only"]
    return [*arguments, *(["--model", model] if model else []), "-"]


def _opencode(model: str, system: str, stream: bool) -> list[str]:
    return ["run", "--format", "json", *(["--model", model] if model else [])]


def _hear_claude(said: Mapping[str, Any], heard: _Heard) -> str:
    kind = said.get("type")
    heard.session = word(said.get("session_id")) or heard.session
    if kind == "stream_event":
        delta = part(part(said, "event"), "delta")
        return word(delta.get("text")) if delta.get("type") == "text_delta" else ""
    if kind == "assistant":
        heard.model = word(part(said, "message").get("model")) or heard.model
    if kind != "result":
        return ""
    heard.ended = True
    heard.text = word(said.get("result"))
    counted = anthropic.usage_of(part(said, "usage"))
    cost = said.get("total_cost_usd")
    heard.usage = counted.model_copy(update={"cost": float(cost) if isinstance(cost, int | float) else None})
    if said.get("is_error") or said.get("subtype") != "success":
        heard.error = heard.text or word(said.get("subtype")) or "it failed"
    return ""


def _hear_codex(said: Mapping[str, Any], heard: _Heard) -> str:
    kind = said.get("type")
    if kind == "thread.started":
        heard.session = word(said.get("thread_id"))
    elif kind == "item.completed" and part(said, "item").get("type") == "agent_message":
        # Each message before the last one says what the agent is about to do: the last is the answer.
        heard.text = word(part(said, "item").get("text"))
    elif kind == "turn.completed":
        usage = part(said, "usage")
        heard.usage = used(
            count(usage.get("input_tokens")),
            count(usage.get("output_tokens")),
            cached=count(usage.get("cached_input_tokens")),
            reasoning=count(usage.get("reasoning_output_tokens")),
        )
        heard.ended = True
    elif kind == "turn.failed":
        heard.error = word(part(said, "error").get("message")) or "the turn failed"
    elif kind == "error":
        heard.error = word(said.get("message")) or "it failed"
    return ""


def _hear_opencode(said: Mapping[str, Any], heard: _Heard) -> str:
    kind, piece = said.get("type"), part(said, "part")
    heard.session = word(said.get("sessionID")) or heard.session
    if kind == "text":
        heard.text += word(piece.get("text"))
        return word(piece.get("text"))
    if kind == "step_finish":
        tokens, cache = part(piece, "tokens"), part(part(piece, "tokens"), "cache")
        read, written, thought = (
            count(cache.get("read")),
            count(cache.get("write")),
            count(tokens.get("reasoning")),
        )
        cost = piece.get("cost")
        step = used(
            count(tokens.get("input")) + read + written,
            count(tokens.get("output")) + thought,
            cached=read,
            written=written,
            reasoning=thought,
            cost=float(cost) if isinstance(cost, int | float) else None,
        )
        steps = step if heard.usage is None else heard.usage + step
        heard.usage = steps.model_copy(update={"calls": 1})
        heard.ended = True
    elif kind == "error":
        error = part(said, "error")
        heard.error = word(part(error, "data").get("message")) or word(error.get("name")) or "it failed"
    return ""


AGENTS: Mapping[str, Agent] = {
    "claude-cli": Agent("claude", _claude, re.compile(r"ANTHROPIC_\w+|CLAUDE_\w+"), _hear_claude, True),
    "codex-cli": Agent("codex", _codex, re.compile(r"OPENAI_(?:API_KEY|BASE_URL)|CODEX_\w+"), _hear_codex),
    "opencode-cli": Agent("opencode", _opencode, re.compile(r"OPENCODE_\w+"), _hear_opencode),
}


class CliAgent:
    """A provider that starts a program for each call. `environ` is that of the worker."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        self.name = name
        self._agent = AGENTS[name]
        self._environ = {
            variable: value
            for variable, value in environ.items()
            if _ENVIRONMENT.fullmatch(variable) or self._agent.own.fullmatch(variable)
        }
        self._secrets = [v for n, v in self._environ.items() if n.endswith(("_KEY", "_TOKEN")) and len(v) > 7]

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """See `llm.chat.Provider`."""
        command, prompt = self._command(request, on_text is not None)
        heard, shown, cutter = _Heard(), [], StopCutter(request.stop)

        def line(data: bytes) -> None:
            said = as_json(data)
            if isinstance(said, dict):
                piece = cutter.feed(self._agent.hear(said, heard))
                if piece and on_text is not None:
                    shown.append(piece)
                    on_text(piece)

        loop = asyncio.get_running_loop()
        started = loop.time()
        with tempfile.TemporaryDirectory(prefix="po-agent-", ignore_cleanup_errors=True) as place:
            status, complaint = await self._run(command, prompt, place, request.timeout or TIMEOUT, line)
        if heard.error or status or not heard.ended:
            raise self._failure(request, heard, status, complaint)
        if on_text is not None and (rest := cutter.rest()):
            shown.append(rest)
            on_text(rest)
        whole = StopCutter(request.stop)
        text = whole.feed(heard.text) + whole.rest()
        if on_text is not None and not shown and text:
            on_text(text)
        usage = heard.usage or used(estimate(prompt), estimate(text))
        return ChatResponse(
            text=text,
            usage=usage,
            model=heard.model or request.model_name,
            request_id=heard.session[:200],
            seconds=loop.time() - started,
            estimated=heard.usage is None,
        )

    def _command(self, request: ChatRequest, stream: bool) -> tuple[list[str], str]:
        model = request.model_name
        if not _MODEL.fullmatch(model):
            raise ModelRefused(f"{model!r:.80} is not the name of a model")
        if request.tools or any(m.images or m.role == "tool" for m in request.messages):
            raise ModelRefused(f"{self.name} takes text only: no images and no tools of ours")
        program = shutil.which(self._agent.program, path=self._environ.get("PATH"))
        if program is None:
            raise ModelRefused(
                f"{self.name} needs the program `{self._agent.program}`, which is not where the run is",
                hint="Install it, or add its directory to PATH where the orchestrator starts.",
            )
        system = [m.content for m in request.messages if m.role == "system"]
        turns = [m for m in request.messages if m.role != "system"]
        if request.schema is not None:
            system.append(told(request.schema))
        elif request.json:
            system.append(JSON_ONLY)
        if len(turns) == 1:
            prompt = turns[0].content
        else:
            prompt = "\n\n".join(f"{m.role.capitalize()}: {m.content}" for m in turns)
        instructions = "\n\n".join(system)
        if instructions and not self._agent.takes_system:
            prompt, instructions = f"{instructions}\n\n{prompt}", ""
        name = "" if model == "default" else model
        return [program, *self._agent.arguments(name, instructions, stream)], prompt

    async def _run(
        self, command: list[str], prompt: str, place: str, seconds: float, line: Callable[[bytes], None]
    ) -> tuple[int, str]:
        """(exit status, the beginning of stderr). The whole process group is gone when this returns."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=place,
                env=self._environ,
                start_new_session=True,
            )
        except OSError as error:
            raise ModelRefused(f"{self.name} cannot be started: {error.strerror}") from None
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(seconds):
                _, complaint, _ = await asyncio.gather(
                    _lines(process.stdout, line, self.name),
                    _beginning(process.stderr),
                    _give(process.stdin, prompt.encode("utf-8", "replace")),
                )
                return await process.wait(), redacted(complaint, *self._secrets)
        except TimeoutError:
            raise ModelUnavailable(f"{self.name}: no answer within {seconds:g} s", outcome="unknown") from None
        finally:
            await _end(process)

    def _failure(self, request: ChatRequest, heard: _Heard, status: int, complaint: str) -> ModelError:
        why = heard.error or complaint.strip() or f"it ended with status {status} and no answer"
        why = " ".join(redacted(why, *self._secrets).split())[:500]
        details: dict[str, Any] = {"provider": self.name, "model": request.model_name, "exit_status": status}
        if heard.session:
            details["request_id"] = heard.session[:200]
        if heard.usage is not None:
            details["usage"] = heard.usage.to_json()
        text = f"{self.name} failed: {why}"
        if _LIMITED.search(why):
            return ModelRateLimited(text, details=details)
        if _KEY.search(why):
            return ModelKeyError(
                text, hint=f"Log in with `{self._agent.program}` once, by hand.", details=details
            )
        kind = ModelUnavailable if status < 0 or _TRANSIENT.search(why) else ModelRefused
        return kind(text, details=details)

    async def aclose(self) -> None:
        """Nothing: an agent ends with its call."""


async def _lines(stream: asyncio.StreamReader, line: Callable[[bytes], None], name: str) -> None:
    held: list[bytes] = []
    size = 0
    while chunk := await stream.read(65536):
        size += len(chunk)
        if size > MAX_ANSWER:
            raise ModelRefused(f"{name} wrote more than {MAX_ANSWER // 1024**2} MB and was ended")
        if b"\n" not in chunk:
            held.append(chunk)
            continue
        *lines, rest = b"".join([*held, chunk]).split(b"\n")
        held = [rest] if rest else []
        for data in lines:
            line(data)
    if held:
        line(b"".join(held))


async def _beginning(stream: asyncio.StreamReader) -> str:
    kept = b""
    while chunk := await stream.read(65536):
        kept = (kept + chunk)[:_MAX_STDERR]
    return kept.decode(errors="replace")


async def _give(stream: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
        stream.close()
        await stream.wait_closed()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process group: asked first, then made to. Also what the agent itself started."""
    running = process.returncode is None
    for sign in (signal.SIGTERM, signal.SIGKILL) if running else (signal.SIGKILL,):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, sign)
        if sign == signal.SIGTERM:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GRACE):
                    await process.wait()
    if process.returncode is None:
        await process.wait()
    # asyncio lets go of a process and its pipes only once they were read to their ends.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GRACE):
            for stream in (process.stdout, process.stderr):
                while stream is not None and await stream.read(65536):
                    pass
            await asyncio.sleep(0)
