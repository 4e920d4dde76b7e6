"""The provider that starts a CLI agent for each call.

An agent may read files and run commands as its own configuration allows, so a run with one needs the scope
`code:run`, and agents are off unless the setting `cli_agents` is on. It is started in an empty directory of its own,
in a process group of its own, with an allow-listed environment; the prompt goes through stdin, never through the
command line. One call of ours is one start; the number of requests that the agent makes is unknown. It has no
temperature, limits, stop, seed, tools or images: stop sequences are cut on this side, a schema goes as text, the
others are left out (images, files and tools are refused). `NAME:default` is the agent's own choice of a model.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Mapping

from po_jupyter.errors import ModelError, ModelKeyError, ModelRateLimited, ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText, Provider
from po_jupyter.llm.money.tokens import estimate
from po_jupyter.llm.providers.cli_agents.agents import AGENTS, AgentOutput, AgentProgram
from po_jupyter.llm.providers.cli_agents.process import run_agent
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.structured.dialects import JSON_ONLY, schema_as_text
from po_jupyter.llm.wire.bodies import decode_json
from po_jupyter.llm.wire.errors import redact
from po_jupyter.llm.wire.stop_sequences import StopCutter
from po_jupyter.llm.wire.usage import checked_usage, usage_from
from po_jupyter.model.values.json import JsonObject

TIMEOUT = 600.0  # seconds: an agent thinks in several steps
_ENVIRONMENT = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|XDG_\w+|SSL_CERT_\w+|(?i:\w+_proxy)"
)
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,127}")  # never an option of the program
_TRANSIENT = re.compile(r"overloaded|unavailable|timed? ?out|econn|network|\b5\d\d\b", re.I)
_LIMITED = re.compile(r"rate.?limit|too many requests|usage limit|\b429\b", re.I)
_KEY = re.compile(r"api key|log ?in|unauthorized|authenticat|credential|\b401\b", re.I)


def make(context: ProviderContext) -> Provider:
    """The provider of a context. Raises ModelRefused where CLI agents are switched off."""
    if not context.cli_agents:
        raise ModelRefused(
            f"{context.spec.name} is switched off: a CLI agent may run commands on this machine",
            hint="Set PO_CLI_AGENTS=true where the orchestrator starts.",
        )
    return CliAgent(context.spec.name, context.environ)


class _LiveOutput:
    """The output of one call as it comes: read by lines, cut at stop sequences, shown when streamed."""

    def __init__(self, agent: AgentProgram, stop: tuple[str, ...], on_text: OnText | None) -> None:
        self.output = AgentOutput()
        self._agent = agent
        self._stop = stop
        self._cutter = StopCutter(stop)
        self._on_text = on_text
        self._shown = False

    def read_line(self, data: bytes) -> None:
        event = decode_json(data)
        if isinstance(event, dict):
            self._show(self._cutter.feed(self._agent.read_line(event, self.output)))

    def finish(self) -> str:
        """The whole text, cut at the first stop; shows what is still to be shown."""
        self._show(self._cutter.flush() if self._on_text is not None else "")
        whole = StopCutter(self._stop)
        text = whole.feed(self.output.text) + whole.flush()
        if not self._shown:
            self._show(text)
        return text

    def _show(self, piece: str) -> None:
        if piece and self._on_text is not None:
            self._shown = True
            self._on_text(piece)


class CliAgent:
    """A provider that starts a program for each call. `environ` is that of the worker."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        """`name` is one of `AGENTS`; of `environ` the program gets what is allow-listed."""
        self.name = name
        self._agent = AGENTS[name]
        self._environ = {
            variable: value
            for variable, value in environ.items()
            if _ENVIRONMENT.fullmatch(variable) or self._agent.variables.fullmatch(variable)
        }
        self._secrets = [v for n, v in self._environ.items() if n.endswith(("_KEY", "_TOKEN")) and len(v) > 7]

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """Start the program once. See `llm.chat.Provider`."""
        command, prompt = self._command(request, on_text is not None)
        live = _LiveOutput(self._agent, request.stop, on_text)
        loop = asyncio.get_running_loop()
        started = loop.time()
        with tempfile.TemporaryDirectory(prefix="po-agent-", ignore_cleanup_errors=True) as directory:
            status, stderr = await run_agent(
                command,
                prompt,
                live.read_line,
                name=self.name,
                directory=directory,
                environ=self._environ,
                seconds=request.timeout or TIMEOUT,
            )
        output = live.output
        if output.error or status or not output.ended:
            raise self._failure(request, output, status, stderr)
        text = live.finish()
        usage, estimated = checked_usage(output.usage or usage_from(estimate(prompt), 0), request, text)
        return ChatResponse(
            text=text,
            usage=usage,
            model=output.model or request.model_name,
            request_id=output.session[:200],
            seconds=loop.time() - started,
            estimated=estimated or output.usage is None,
        )

    def _command(self, request: ChatRequest, stream: bool) -> tuple[list[str], str]:
        """(the command line, the prompt for stdin). Raises ModelRefused."""
        model = request.model_name
        if not _MODEL.fullmatch(model):
            raise ModelRefused(f"{model!r:.80} is not the name of a model")
        if request.tools or any(m.images or m.files or m.role == "tool" for m in request.messages):
            raise ModelRefused(f"{self.name} takes text only: no images, no files and no tools of ours")
        program = shutil.which(self._agent.program, path=self._environ.get("PATH"))
        if program is None:
            raise ModelRefused(
                f"{self.name} needs the program `{self._agent.program}`, which is not where the run is",
                hint="Install it, or add its directory to PATH where the orchestrator starts.",
            )
        system, prompt = _prompts(request)
        if system and not self._agent.takes_system:
            system, prompt = "", f"{system}\n\n{prompt}"
        name = "" if model == "default" else model
        return [program, *self._agent.arguments(name, system, stream)], prompt

    def _failure(self, request: ChatRequest, output: AgentOutput, status: int, stderr: str) -> ModelError:
        reason = output.error or stderr.strip() or f"it ended with status {status} and no answer"
        reason = " ".join(redact(reason, *self._secrets).split())[:500]
        details: JsonObject = {"provider": self.name, "model": request.model_name, "exit_status": status}
        if output.session:
            details["request_id"] = output.session[:200]
        if output.usage is not None:
            details["usage"] = output.usage.to_json()
        text = f"{self.name} failed: {reason}"
        if _LIMITED.search(reason):
            return ModelRateLimited(text, details=details)
        if _KEY.search(reason):
            hint = f"Log in with `{self._agent.program}` once, by hand."
            return ModelKeyError(text, hint=hint, details=details)
        kind = ModelUnavailable if status < 0 or _TRANSIENT.search(reason) else ModelRefused
        return kind(text, details=details)

    async def aclose(self) -> None:
        """Close nothing: an agent ends with its call."""


def _prompts(request: ChatRequest) -> tuple[str, str]:
    """(system prompt, prompt) of a conversation; several turns are written one below the other."""
    system = [m.content for m in request.messages if m.role == "system"]
    turns = [m for m in request.messages if m.role != "system"]
    if request.schema is not None:
        system.append(schema_as_text(request.schema))
    elif request.json:
        system.append(JSON_ONLY)
    several = "\n\n".join(f"{m.role.capitalize()}: {m.content}" for m in turns)
    prompt = turns[0].content if len(turns) == 1 else several
    return "\n\n".join(system), prompt
