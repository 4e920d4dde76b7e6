"""A real Jupyter server in a process of its own, with po_jupyter loaded and no configuration of the user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from po_jupyter.client.headless import START_DEADLINE
from tests.support.paths import ROOT, TESTS
from tests.support.start_mode import inherited_environment

FAKE = "tests.support.fake_orchestrator.FakeOrchestrator"
API = "po/api/v1/"


class JupyterProcess:
    """Start it, ask it, stop it. `orchestrator` is a dotted name, or None for the real one; `port` 0 is a free one."""

    def __init__(
        self,
        folder: Path,
        *,
        orchestrator: str | None = FAKE,
        token: str = "secret-of-jupyter",
        strict: bool = True,
        extensions: tuple[str, ...] = ("po_jupyter",),
        args: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.folder = folder
        self.token = token
        self.runtime = folder / "runtime"
        self.data = folder / "data"
        self.log = folder / "jupyter.log"
        for part in (self.runtime, self.data, folder / "config", folder / "work"):
            part.mkdir(parents=True, exist_ok=True)
        # Off: what this very environment happens to have.
        off = (
            "jupyterlab",
            "jupyter_lsp",
            "jupyter_server_terminals",
            "notebook_shim",
            "nbclassic",
            "notebook",
            "po_jupyter",  # enabled by its own configuration where it is installed
        )
        loaded = {**dict.fromkeys(off, False), **dict.fromkeys(extensions, True)}
        command = [
            sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--ServerApp.port={port}",
            f"--ServerApp.jpserver_extensions={loaded}", f"--IdentityProvider.token={token}",
            f"--ServerApp.allow_unauthenticated_access={not strict}", "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.root_dir={folder / 'work'}", *args,
        ]  # fmt: skip
        if orchestrator:
            command.append(f"--PoExtension.orchestrator_class={orchestrator}")
        self.env = {
            **inherited_environment("JUPYTER", "JPY", "PO_"),
            # `open_door` by this name: extensions are loaded in the order of their names, and it must come before ours.
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS / "support")]),
            "JUPYTER_RUNTIME_DIR": str(self.runtime),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "PO_DATA_DIR": str(self.data),
            "PO_MAX_WRONG_TOKENS": "1000000",  # walks of all doors try a wrong one at each
            **(env or {}),
        }
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=self.env, cwd=folder / "work"
            )
        self.url = self._await_url()

    def _await_url(self, deadline: float = START_DEADLINE) -> str:
        info = self.runtime / f"jpserver-{self.process.pid}.json"
        until = time.monotonic() + deadline
        while time.monotonic() < until:
            if info.exists():
                try:
                    url = str(json.loads(info.read_text())["url"])
                    httpx.get(url + API + "health", trust_env=False)
                    return url
                except (ValueError, httpx.TransportError):
                    pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"the server did not start:\n{self.log.read_text()}")

    def http(self, token: str | None = "", **more: Any) -> httpx.Client:
        """A plain HTTP client; `token` None is nobody, "" is this server's."""
        headers = {} if token is None else {"Authorization": f"token {token or self.token}"}
        return httpx.Client(base_url=self.url + API, headers=headers, trust_env=False, timeout=20, **more)

    def stop(self) -> None:
        """As a person does: SIGTERM, and wait."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()


def definition(name: str = "tickets", **more: Any) -> dict[str, Any]:
    """A small pipeline; `steps=N` makes the fake orchestrator play it in N ticks."""
    steps = more.pop("steps", None)
    metadata = {} if steps is None else {"steps": steps}
    return {"name": name, "tasks": [{"name": "label", "prompt": "Label it"}], "metadata": metadata, **more}


def body(**more: Any) -> dict[str, Any]:
    """A body for POST runs."""
    return {
        "pipeline": definition(steps=more.pop("steps", None)),
        "seed": {"name": "first", "data": {}},
        **more,
    }
