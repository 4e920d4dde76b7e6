"""The team's key is nowhere where a user can look: searched as it is, backwards, in base64, in hex and in halves.

With users of the machine of their own, as on a hub that somebody means. The hunt finds a key that the spawner's
environment has: the last test shows it.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from jupyter_client import BlockingKernelClient

from po_jupyter.testing.model_server import ModelServer
from tests.hub.real.conftest import await_state, rows, submit
from tests.support.fake_gateway import TEAM_KEY
from tests.support.jupyterhub import RealHub, real_hub
from tests.support.trace_collector import TraceCollector

pytestmark = pytest.mark.acceptance

LOOK = """
import glob, os, subprocess, sys
def everything():
    found = {"environment": dict(os.environ), "argv": sys.argv, "files": {}}
    for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
        try:
            found["files"][path] = open(path, "rb").read().decode("latin-1")
        except OSError as error:
            found["files"][path] = str(error)
    command = "env; ps auxe; cat %(private)s/*"
    found["terminal"] = subprocess.run(command, shell=True, capture_output=True, text=True).stdout
    found["folder"] = []
    for folder, _, names in os.walk("%(folder)s"):
        for name in names:
            try:
                path = os.path.join(folder, name)
                found["folder"].append(path)
                found["files"][path] = open(path, "rb").read(4_000_000).decode("latin-1")
            except OSError as error:
                found["files"][path] = str(error)
    return found
"""


def disguises(key: str) -> dict[str, list[str]]:
    """The texts that give a key away; each is found when all of its parts are."""
    half = len(key) // 2
    encoded = [base64.b64encode(key.encode()[n:])[4:-4].decode() for n in range(3)]
    return {
        "plain": [key], "backwards": [key[::-1]], "hex": [key.encode().hex()],
        **{f"base64, from {n}": [text] for n, text in enumerate(encoded)},
        "first half": [key[:half]], "second half": [key[half:]],
        "quoted": [json.dumps(key)[1:-1]],
    }  # fmt: skip


def found_in(text: str, key: str) -> list[str]:
    """The disguises in which a key is in a text."""
    return [name for name, parts in disguises(key).items() if all(part in text for part in parts)]


class Hunter:
    """A user who looks everywhere."""

    def __init__(self, hub: RealHub, user: str) -> None:
        self.hub, self.user = hub, user
        self.seen: dict[str, str] = {}

    def look(self) -> None:
        """All places, into `seen`."""
        with self.hub.po(self.user) as client:
            self._runs(client)
            for path in (
                "models",
                "keys",
                "usage",
                "doctor?online=true",
                "meta",
                "metrics",
                "waits",
                "runs",
                "logs",
            ):
                self.seen[f"api {path}"] = client.get(path).text
        self._terminal()
        self._kernel()
        self._gateway()
        for path in sorted(self.hub.home(self.user).rglob("*")):
            if path.is_file():  # journals, logs, artifacts, the store
                self.seen[f"home {path.name} {len(self.seen)}"] = path.read_bytes().decode("latin-1")

    def _runs(self, client: httpx.Client) -> None:
        look = LOOK % {"private": self.hub.limits.parent, "folder": self.hub.folder}
        body = rows(3, "hunt")
        body["pipeline"]["tasks"].append(
            {
                "name": "look",
                "source": f"{look}\ndef inference(ctx):\n    return everything()\n",
            }
        )
        asks = "async def inference(ctx):\n    return str(await ctx.llm.openai.gpt5_mini('who'))\n"
        body["pipeline"]["tasks"].append({"name": "asks", "source": asks})
        done = submit(client, body)
        failing = rows(1, "fails")
        failing["pipeline"]["llm"]["model"] = "openai:gpt-4.1"
        failing["options"] = {"skip_validation": True}
        failed = submit(client, failing)
        await_state(lambda: self.hub.po(self.user), done, "done", "failed", seconds=240)
        await_state(lambda: self.hub.po(self.user), failed, "done", "failed", seconds=240)
        for run in (done, failed):
            for path in (
                "",
                "/outputs",
                "/calls",
                "/model-calls",
                "/model-calls/0",
                "/logs",
                "/artifacts",
                "/timeline",
            ):
                self.seen[f"run {run[:6]}{path}"] = client.get(f"runs/{run}{path}").text
        self.done = done

    def _terminal(self) -> None:
        pid = self.hub.server_pid(self.user)
        environ = psutil.Process(pid).environ()
        for command in (
            "env",
            "ps auxe",
            f"cat /proc/{self.hub.gateway_pid()}/environ",
            "po config; po keys list; po doctor",
            f"ls -la {self.hub.limits.parent}; cat {self.hub.limits} {self.hub.key_file}",
        ):
            result = subprocess.run(
                ["bash", "-c", command], env=environ, capture_output=True, text=True, timeout=120, check=False,
                errors="replace", cwd="/", **self._as_user(),
            )  # fmt: skip
            self.seen[f"terminal {command}"] = result.stdout + result.stderr

    def _kernel(self) -> None:
        """What a cell sees: its environment, /proc, files; and what the orchestrator tells it."""
        token = self.hub.new_token(self.user, [f"access:servers!user={self.user}"])
        url = f"{self.hub.url}/user/{self.user}/api/kernels"
        with httpx.Client(trust_env=False, timeout=60, headers={"Authorization": f"token {token}"}) as client:
            kernel = client.post(url).json()["id"]
            place = next(self.hub.home(self.user).rglob(f"kernel-{kernel}.json"))
            cell = BlockingKernelClient(connection_file=str(place))
            cell.load_connection_file()
            cell.start_channels(hb=False)  # a slow machine is no dead kernel
            try:
                cell.wait_for_ready(timeout=120)
                look = LOOK % {"private": self.hub.limits.parent, "folder": self.hub.folder}
                printed: list[str] = []
                cell.execute_interactive(
                    f"{look}\nimport json, po_jupyter as po\nfound = everything()\n"
                    "json.dump(found, open(os.path.expanduser('~/kernel.json'), 'w'))\n"
                    "print(found['environment'], po.connect().keys(), po.connect().usage())",
                    timeout=240, output_hook=lambda message: printed.append(json.dumps(message["content"])),
                )  # fmt: skip
            finally:
                cell.stop_channels()
                client.delete(f"{url}/{kernel}")
        self.seen["kernel"] = "\n".join(printed)
        assert "PO_HUB_URL" in self.seen["kernel"], self.seen["kernel"][-2000:]

    def _as_user(self) -> dict[str, Any]:
        if not self.hub.system_users:
            return {}
        uid = self.hub.uid(self.user)
        return {"user": uid, "group": uid, "extra_groups": []}

    def _gateway(self) -> None:
        token = self.hub.new_token(self.user)
        with httpx.Client(trust_env=False, timeout=30, headers={"Authorization": f"Bearer {token}"}) as client:
            url = self.hub.gateway_url
            for path in (
                "",
                "/",
                "/api/models",
                "/api/usage",
                "/api/admin/usage",
                "/api/admin/limits",
                "/openai/v1/models",
                "/openai/v1/../..",
                "/openai/v1/files",
                "/nothing",
            ):
                self._answer(client.get(url + path))
            for body in (
                {},
                {"model": "gpt-4.1"},
                {"model": "gpt-5-mini", "input": "x"},
                {"model": ["x"]},
                "x",
            ):
                self._answer(client.post(f"{url}/openai/v1/responses", json=body))
            self._answer(client.post(f"{url}/openai/v1/responses", content=b"\xff"))

    def _answer(self, response: httpx.Response) -> None:
        self.seen[f"gateway {response.request.url} {len(self.seen)}"] = f"{response.headers}\n{response.text}"

    def finds(self, key: str) -> dict[str, list[str]]:
        """Where the key is, and in which disguise."""
        return {where: found for where, text in self.seen.items() if (found := found_in(text, key))}


@pytest.fixture(scope="module")
def traces() -> Iterator[TraceCollector]:
    collector = TraceCollector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def strict_hub(vendor: ModelServer, traces: TraceCollector) -> Iterator[RealHub]:
    sent = {"OTEL_EXPORTER_OTLP_ENDPOINT": traces.url}
    folder = Path(tempfile.mkdtemp(prefix="po-hub-"))  # those of pytest are closed to other users
    folder.chmod(0o755)
    try:
        with real_hub(folder, upstream=vendor.root_url, system_users=True, server_env=sent) as hub:
            yield hub
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_teams_key_is_nowhere(strict_hub: RealHub, vendor: ModelServer, traces: TraceCollector):
    strict_hub.start_server(strict_hub.alice)
    hunter = Hunter(strict_hub, strict_hub.alice)
    hunter.look()
    assert any(
        f"Bearer {TEAM_KEY}" == request.headers["authorization"] for request in vendor.requests
    )  # it was used
    traces.wait_for("run", timeout=60)
    hunter.seen["traces"] = b"".join(traces.bodies).decode("latin-1")
    assert "gpt-5-mini" in hunter.seen["traces"]
    assert len(hunter.seen) > 40
    assert "PO_HUB_URL" in hunter.seen["terminal env"]
    assert hunter.finds(TEAM_KEY) == {}


def server_files(hub: RealHub, user: str) -> set[str]:
    """The names of Jupyter's own files of the user's running server, which say how its kernels and its user's browser
    reach it; nobody else reads them."""
    found = list(hub.home(user).rglob(f"jpserver-{hub.server_pid(user)}*"))
    for (
        path
    ) in found:  # that which opens a browser is readable in itself, in a directory that nobody else enters
        ways = [path, *path.relative_to(hub.home(user)).parents]
        modes = {str(way): (hub.home(user) / way).stat().st_mode & 0o077 for way in ways}
        assert 0 in modes.values(), modes
    return {path.name for path in found}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_users_token_is_in_nothing_that_is_kept(strict_hub: RealHub):
    hunter = Hunter(strict_hub, strict_hub.alice)
    hunter.look()
    token = psutil.Process(strict_hub.server_pid(strict_hub.alice)).environ()["JUPYTERHUB_API_TOKEN"]
    kept = {
        where: found
        for where, found in hunter.finds(token).items()
        if where.startswith(("home ", "api ", "gateway "))
    }
    # Jupyter's own files of this server, and what the hunt's own cell wrote down, have it; nothing else does.
    own = {*server_files(strict_hub, strict_hub.alice), "kernel.json"}
    assert {where for where in kept if where.split()[1] not in own} == set()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_hunt_finds_a_key_that_the_spawners_environment_has(vendor: ModelServer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("careless")
    with real_hub(
        folder, upstream=vendor.root_url, server_env={"SOME_KEY": TEAM_KEY, "BACKWARDS": TEAM_KEY[::-1]}
    ) as hub:
        hub.start_server(hub.alice)
        hunter = Hunter(hub, hub.alice)
        hunter._terminal()
        found = hunter.finds(TEAM_KEY)
        assert {"plain", "backwards"} <= set(found["terminal env"])


def test_each_disguise_is_found():
    key = "sk-team-AbCdEfGhIjKlMnOpQrStUv"
    shift = [base64.b64encode(b"x" * n + key.encode()).decode() for n in range(3)]
    for text in (key, key[::-1], key.encode().hex(), *shift, f"{key[:15]} and {key[15:]}"):
        assert found_in(f"before {text} after", key), text
    assert found_in("nothing of the kind, sk-team alone", key) == []
