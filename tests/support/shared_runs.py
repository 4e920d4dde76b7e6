"""The service of shared runs and the gateway, as programs of their own, with people whom a table of tokens knows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.brokers import free_port
from tests.support.paths import ROOT
from tests.support.start_mode import inherited_environment

TEAM_KEY = "sk-team-of-shared-runs-0123456789"
SERVICE_TOKEN = "token-of-the-service-of-shared-runs"
PEOPLE: Mapping[str, Mapping[str, Any]] = {
    "token-of-alice": {"name": "alice", "groups": ["red", "leads"]},
    "token-of-bob": {"name": "bob", "groups": ["red"]},
    "token-of-carol": {"name": "carol", "groups": ["blue"]},
    "token-of-dan": {"name": "dan", "groups": ["guests"]},
    "token-of-root": {"name": "root", "is_admin": True},
    "token-of-eve": {"name": "eve", "may_use": False},
    SERVICE_TOKEN: {"name": "service:po-runs", "for_others": True},
}
ROLES = {"red": {"viewer": ["guests"], "runner": ["red"], "approver": ["leads"]}}


@dataclass
class SharedRuns:
    """A running service and the gateway before it."""

    url: str
    gateway_url: str
    folder: Path
    programs: dict[str, tuple[list[str], dict[str, str]]] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, **environ: str) -> None:
        """Start one of the programs, `hub` or `hub_runs`, with more variables."""
        command, variables = self.programs[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command, env={**variables, **environ}, cwd=self.folder, stdout=log, stderr=log
            )

    def await_answer(self) -> None:
        """Wait until both answer."""
        _await(f"{self.gateway_url}/api/models", self.folder)
        _await(f"{self.url}/po/api/v1/meta", self.folder)

    def kill(self, name: str) -> None:
        """As `kill -9` does, and wait."""
        self.running[name].kill()
        self.running[name].wait()

    def client(self, name: str, group: str = "") -> httpx.Client:
        """A client of the API for a person."""
        headers = {"Authorization": f"token token-of-{name}"} | ({"X-Po-Group": group} if group else {})
        return httpx.Client(
            base_url=f"{self.url}/po/api/v1/",
            headers=headers,
            trust_env=False,
            timeout=30,
            follow_redirects=False,
        )

    def await_state(self, name: str, run: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        """The run in one of the states."""
        until = time.monotonic() + seconds
        with self.client(name) as client:
            while time.monotonic() < until:
                view = client.get(f"runs/{run}").json()["run"]
                if view["state"] in states:
                    return dict(view)
                time.sleep(0.1)
        raise AssertionError(f"{view['state']}: {view['error']}")


@contextmanager
def shared_runs(
    folder: Path,
    vendor: str,
    limits: Mapping[str, Any] | None = None,
    settings: Mapping[str, str] | None = None,
    team: Mapping[str, Any] | None = None,
) -> Iterator[SharedRuns]:
    """Both programs, with the server at `vendor` (its root) as OpenAI; `settings` are variables of the service, `team`
    further parts of the gateway's configuration."""
    tokens, roles, config = folder / "tokens.json", folder / "roles.yaml", folder / "limits.yaml"
    tokens.write_text(json.dumps(PEOPLE))
    roles.write_text(json.dumps(ROLES))
    (folder / "key").write_text(TEAM_KEY)
    config.write_text(
        json.dumps(
            {
                "providers": {"openai": {"base_url": f"{vendor}/v1", "key_file": "key"}},
                "models": ["openai:gpt-5-mini"],
                "prices": {"openai:gpt-5-mini": {"input": 1, "output": 10}},
                "limits": limits or {},
                **(team or {}),
            }
        )
    )
    gateway, service = free_port(), free_port()
    found = SharedRuns(
        f"http://127.0.0.1:{service}/services/po-runs", f"http://127.0.0.1:{gateway}/services/po", folder
    )
    clean = inherited_environment("PO_", "JUPYTER", "JPY", "OPENAI")
    environ = {**clean, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    for name, port, arguments, more in (
        ("hub", gateway, ["--config", str(config)], {}),
        (
            "hub_runs", service, ["--data-dir", str(folder / "data"), "--roles", str(roles)],
            {"PO_HUB_URL": found.gateway_url, "JUPYTERHUB_API_TOKEN": SERVICE_TOKEN, **(settings or {})},
        ),
    ):  # fmt: skip
        command = [sys.executable, "-m", f"po_jupyter.{name}", "--tokens", str(tokens), "--port", str(port)]
        found.programs[name] = [*command, *arguments], {**environ, **more}
    with ExitStack() as stack:
        stack.callback(lambda: [_end(process) for process in found.running.values()])
        found.start("hub")
        found.start("hub_runs")
        found.await_answer()
        yield found


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await(url: str, folder: Path) -> None:
    until = time.monotonic() + 90
    headers = {"Authorization": "Bearer token-of-root"}
    answer = ""
    while time.monotonic() < until:
        try:
            response = httpx.get(url, headers=headers, trust_env=False, timeout=20)
            if response.status_code == 200:
                return
            answer = response.text
        except httpx.HTTPError as error:
            answer = repr(error)
        time.sleep(0.2)
    logs = "".join(path.read_text(errors="replace")[-3000:] for path in folder.glob("*.log"))
    raise AssertionError(f"{url}: {answer}\n{logs}")
