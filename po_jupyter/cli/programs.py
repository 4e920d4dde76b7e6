"""Programs of the rooms below, run as processes: their answers where no orchestrator runs to be asked.

A face imports neither the orchestrator nor the models; what it needs of them alone it asks across a process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import cast

from po_jupyter.client.http.payloads import ModelJson
from po_jupyter.errors import PoError, from_json
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform.source_root import SOURCE_ROOT

_OFFLINE = "po_jupyter.orchestrator.environment.offline"
_TIMEOUT = 60.0  # seconds; half a second is usual


def run_module(module: str, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE` of this package with this process's environment. Raises subprocess.TimeoutExpired."""
    path = os.pathsep.join(filter(None, [SOURCE_ROOT, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        # -P: a file of the user that is called like a module must not be imported instead of it.
        [sys.executable, "-P", "-m", module, *arguments],
        capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def last_line(completed: subprocess.CompletedProcess[str]) -> str:
    """The last line of a program's stderr, or its exit code."""
    return (completed.stderr.strip().splitlines() or [f"exit code {completed.returncode}"])[-1]


def offline_models(word: str | None, provider: str | None) -> list[ModelJson]:
    """The models that an orchestrator started here would know. Raises PoError."""
    options = [*(["--word", word] if word else []), *(["--provider", provider] if provider else [])]
    return cast("list[ModelJson]", _run_offline("models", *options)["models"])


def offline_providers() -> list[str]:
    """The providers that an orchestrator started here would take keys of. Raises PoError."""
    return cast("list[str]", _run_offline("providers")["providers"])


def _run_offline(*arguments: str) -> JsonObject:
    try:
        completed = run_module(_OFFLINE, *arguments, timeout=_TIMEOUT)
        answer: JsonObject = json.loads(completed.stdout)
    except subprocess.TimeoutExpired:
        raise PoError(f"the {arguments[0]} could not be listed within {_TIMEOUT:g} s") from None
    except ValueError:
        raise PoError(
            f"the {arguments[0]} could not be listed: {last_line(completed)[:300]}",
            hint="`po doctor` looks for the reason.",
        ) from None
    if "error" in answer:
        raise from_json(answer["error"])
    return answer
