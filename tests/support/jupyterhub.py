"""A real JupyterHub of a test's own: hub, proxy from npm, culler and the gateway as a service, on ports of its own.

    with RealHub(folder) as hub:
        hub.start_server("alice")
        hub.stop_server("alice")

Its configuration is that of the admin's guide (`po_jupyter/docs/guide/jupyterhub_config.py`) behind
`tests/support/hub_config.py`. Each process is ended by its own id. `system_users`: each user is one of the machine,
made and removed here, which needs root.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.brokers import free_port
from tests.support.fake_gateway import TEAM_KEY
from tests.support.paths import ROOT, TESTS
from tests.support.start_mode import inherited_environment

GUIDE = ROOT / "po_jupyter/docs/guide/jupyterhub_config.py"
RUNS_GUIDE = ROOT / "po_jupyter/docs/guide/jupyterhub_runs_config.py"
STARTS_GUIDE = ROOT / "po_jupyter/docs/guide/jupyterhub_starts_config.py"
CONFIG = TESTS / "support/hub_config.py"
PASSWORD = "the-password-of-the-hub"
PROXY = "configurable-http-proxy"
WAIT = 120.0  # s, for a server of a user to start
_NOT_OF_A_USER = ("JUPYTER", "JPY", "PO_", "OPENAI", "ANTHROPIC", "GEMINI")


def proxy_command() -> list[str]:
    """The proxy of the hub: on the PATH, or where `.ci/run` put it. Skips where there is none."""
    found = os.environ.get("PO_HUB_PROXY") or shutil.which(PROXY)
    cached = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        / "po-hub-proxy/node_modules/.bin"
        / PROXY
    )
    if found is None and cached.exists():
        found = str(cached)
    if found is None or shutil.which("node") is None:
        pytest.skip(f"no {PROXY} here: npm install --prefix ~/.cache/po-hub-proxy {PROXY}@5")
    return [found]


def need_hub() -> None:
    """Skip where a hub cannot be run."""
    pytest.importorskip("jupyterhub", reason="pip install '.[test]'")
    pytest.importorskip("jupyterhub_idle_culler", reason="pip install '.[test]'")
    proxy_command()


def python_for_others(folder: Path) -> str | None:
    """A Python with this one's packages that every user of the machine may start; None where there is none."""
    here = Path(sys.executable).resolve()
    if _everybody_may_enter(here) and _everybody_may_enter(Path(sys.prefix) / "x"):
        return sys.executable
    other = Path(f"/usr/bin/python3.{sys.version_info.minor}")
    if not other.exists():
        return None
    packages = next(path for path in map(Path, sys.path) if path.name == "site-packages" and path.is_dir())
    if not _everybody_may_enter(packages / "x") or not _everybody_may_enter(ROOT / "x"):
        return None
    made = folder / "python"
    subprocess.run([other, "-m", "venv", "--without-pip", made], check=True, capture_output=True)
    site = next(made.glob("lib/python3*/site-packages"))
    (site / "packages.pth").write_text(f"{ROOT}\nimport site; site.addsitedir({str(packages)!r})\n")
    for shared in ("share", "etc"):  # extensions of the server and of Lab
        (made / shared).symlink_to(Path(sys.prefix) / shared)
    return str(made / "bin/python")


def _everybody_may_enter(path: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents if parent.exists())


class RealHub:
    """See the module. `gateway` is the command of the service `po`; unset, that of the guide.

    key         the team's, of the provider openai, whose server is `upstream`
    limits      what is else in the gateway's limits.yaml
    cull        seconds after which an idle server is culled; None: an hour
    server_env  further variables of users' servers
    runs        with the service of shared runs, as the guide says
    starts      the gateway may start users' servers, as the guide says
    """

    def __init__(
        self,
        folder: Path,
        *,
        gateway: Sequence[str] | None = None,
        key: str = TEAM_KEY,
        upstream: str = "http://127.0.0.1:1",
        limits: Mapping[str, Any] | None = None,
        cull: int | None = None,
        system_users: bool = False,
        server_env: Mapping[str, str] | None = None,
        people: Mapping[str, Sequence[str]] | None = None,
        runs: bool = False,
        starts: bool = False,
    ) -> None:
        self.folder, self.system_users = folder, system_users
        self.port, self.hub_port, self.api_port, self.service_port = (free_port() for _ in range(4))
        self.url = f"http://127.0.0.1:{self.port}"
        self.hub_url = f"http://127.0.0.1:{self.hub_port}"
        self.gateway_url = f"{self.url}/services/po"
        self.api_token, self._proxy_token = secrets.token_hex(16), secrets.token_hex(16)
        suffix = f"-{os.getpid()}" if system_users else ""
        groups = people or {"biologists": ["alice", "bob"], "chemists": ["carol"]}
        self.groups = {name: [f"{user}{suffix}" for user in users] for name, users in groups.items()}
        self.users = [user for users in self.groups.values() for user in users]
        self.alice, self.bob, self.carol = self.users[:3]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._made: list[str] = []
        self._tokens: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        python: str | None = sys.executable
        if system_users:
            python = self._system_python()
        (folder / "po").mkdir(exist_ok=True)
        self.limits = folder / "po/limits.yaml"
        self.key_file = folder / "po/openai.key"
        self.key_file.write_text(f"{key}\n")
        self.set_limits(limits or {}, upstream)
        for private in (self.limits, self.key_file):
            private.chmod(0o600)
        (folder / "po").chmod(0o700)
        panel = ROOT / "po_jupyter/labextension"
        if panel.exists():  # this checkout's, whatever is installed
            (folder / "labextensions").mkdir(exist_ok=True)
            (folder / "labextensions/po-jupyter").symlink_to(panel)
        self.options: dict[str, Any] = {
            "folder": str(folder), "python": python, "url": f"{self.url}/", "hub_url": self.hub_url,
            "proxy_api": f"http://127.0.0.1:{self.api_port}", "proxy_token": self._proxy_token,
            "password": PASSWORD, "admin": "admin", "groups": self.groups, "system_users": system_users,
            "server_args": ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                            "--LabApp.expose_app_in_browser=True",
                            f"--LabApp.extra_labextensions_path={folder / 'labextensions'}"],
            "server_env": {"JUPYTERHUB_ACTIVITY_INTERVAL": "2", "PYTHONPATH": str(ROOT), **inherited_environment(""),
                           **(server_env or {})},
            "api_token": self.api_token,
            "guide_files": [
                str(path) for path, on in ((GUIDE, True), (RUNS_GUIDE, runs), (STARTS_GUIDE, starts)) if on
            ], "gateway": list(gateway or ()),
            "guide": {
                "TEAM_PROXY": self.url, "TEAM_LIMITS": str(self.limits), "TEAM_CULL": str(cull or 3600),
                "TEAM_CULL_EVERY": "1" if cull else "300",
                "TEAM_SERVICE": f"http://127.0.0.1:{self.service_port}",
                "TEAM_RUNS_SERVICE": f"http://127.0.0.1:{free_port()}", "TEAM_RUNS": str(folder / "po-runs"),
            },
        }  # fmt: skip
        self.api = httpx.Client(
            base_url=f"{self.hub_url}/hub/api/",
            headers={"Authorization": f"token {self.api_token}"},
            trust_env=False,
            timeout=20,
        )

    def set_limits(self, limits: Mapping[str, Any], upstream: str) -> None:
        """What the gateway allows from its next start on."""
        config = {
            "providers": {"openai": {"base_url": f"{upstream}/v1", "key_file": "openai.key"}},
            "models": ["openai:gpt-5-mini", "openai:gpt-4o-mini"],
            "prices": {
                "openai:gpt-5-mini": {"input": 0.25, "output": 2.0},
                "openai:gpt-4o-mini": {"input": 0.15, "output": 0.6},
            },
            **limits,
        }
        self.limits.write_text(json.dumps(config))  # which is YAML

    # -- the whole ---------------------------------------------------------------------------------
    def __enter__(self) -> RealHub:
        try:
            for user in self.users:
                self._make_home(user)
            self.start_proxy()
            self.start_hub()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process, then remove the users."""
        if self.is_up("hub"):
            for user in self.users:
                with contextlib.suppress(httpx.HTTPError):
                    self.api.delete(f"users/{user}/server")
        for name in ("hub", "proxy"):
            self.end(name)
        for process in self._of_this_hub():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for user in self._made:
            subprocess.run(["userdel", "--force", user], check=False, capture_output=True)
        self.api.close()

    def _of_this_hub(self) -> list[psutil.Process]:
        """What was started below this hub and is still there, by a variable that only it has."""
        mine = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if (
                    any(
                        self._proxy_token in value
                        or str(self.folder) == value.rstrip("/")
                        or self.gateway_url == value
                        for value in process.environ().values()
                    )
                    and process.pid != os.getpid()
                ):
                    mine.append(process)  # fmt: skip
        return mine

    def _make_home(self, user: str) -> None:
        home = self.home(user)
        if not self.system_users:
            home.mkdir(parents=True, exist_ok=True)
            return
        (self.folder / "home").mkdir(exist_ok=True)
        subprocess.run(
            ["useradd", "--create-home", "--home-dir", home, "--shell", "/bin/bash", user],
            check=True,
            capture_output=True,
        )
        self._made.append(user)

    def _system_python(self) -> str:
        if os.name != "posix" or os.getuid() != 0 or shutil.which("useradd") is None:
            pytest.skip("platform: users of the machine are made by root alone")
        if not _everybody_may_enter(self.folder / "x"):
            pytest.skip(f"other users may not enter {self.folder}: give --basetemp in a directory that is open")
        python = python_for_others(self.folder)
        if python is None:
            pytest.skip("other users may not start this Python, and there is no other of its version")
        return python

    def home(self, user: str) -> Path:
        """The home directory of a user."""
        return self.folder / "home" / user

    def data_dir(self, user: str) -> Path:
        """The data directory of a user."""
        return self.home(user) / ".local/share/po_jupyter"

    def uid(self, user: str) -> int:
        """The user's number."""
        return pwd.getpwnam(user).pw_uid

    # -- processes ---------------------------------------------------------------------------------
    def start_proxy(self) -> None:
        """The proxy, on the same ports each time."""
        self._start("proxy", [
            *proxy_command(), "--ip", "127.0.0.1", "--port", str(self.port), "--api-ip", "127.0.0.1",
            "--api-port", str(self.api_port), "--error-target", f"{self.hub_url}/hub/error",
        ], {"CONFIGPROXY_AUTH_TOKEN": self._proxy_token})  # fmt: skip
        await_true(lambda: _answers(f"http://127.0.0.1:{self.api_port}/api/routes"), 20, "the proxy")

    def start_hub(self) -> None:
        """The hub and its services."""
        self._start(
            "hub", [sys.executable, "-m", "jupyterhub", "-f", str(CONFIG)],
            {"PO_TEST_HUB": json.dumps(self.options), "CONFIGPROXY_AUTH_TOKEN": self._proxy_token},
        )  # fmt: skip
        await_true(self._is_ready, 120, "the hub", self.log)
        await_true(
            lambda: _status(f"{self.gateway_url}/api/models") in (200, 401, 403), 120, "the gateway", self.log
        )

    def _is_ready(self) -> bool:
        assert self.is_up("hub"), self.log()[-4000:]
        return _status(f"{self.url}/hub/login") == 200

    def _start(self, name: str, command: list[str], env: Mapping[str, str]) -> None:
        clean = inherited_environment(*_NOT_OF_A_USER)
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                env={**clean, "PYTHONPATH": str(ROOT), **env},
            )  # fmt: skip

    def is_up(self, name: str) -> bool:
        """Whether the `hub` or the `proxy` runs."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def end(self, name: str, how: int = signal.SIGTERM) -> None:
        """End the `hub` or the `proxy`, and wait for it. Users' servers go on."""
        process = self._processes.get(name)
        if process is None or process.poll() is not None:
            return
        children = psutil.Process(process.pid).children(recursive=True) if how == signal.SIGKILL else []
        services = [p for p in children if _is_service(p)]
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for child in services:  # a hub that is killed leaves them, and they have the port
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()

    def kill_gateway(self) -> int:
        """kill -9 of the service; the hub starts it again. Its former process id."""
        pid = self.gateway_pid()
        os.kill(pid, signal.SIGKILL)
        return pid

    def gateway_pid(self) -> int:
        """The process of the service `po`."""
        hub = psutil.Process(self._processes["hub"].pid)
        for child in hub.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.environ().get("JUPYTERHUB_SERVICE_NAME") == "po":
                    return int(child.pid)
        raise LookupError("no gateway runs")

    def await_gateway(self) -> None:
        """Wait until the gateway answers through the proxy."""
        answers = (200, 401, 403)
        await_true(lambda: _status(f"{self.gateway_url}/api/models") in answers, 120, "the gateway", self.log)

    def await_routes(self, user: str) -> None:
        """Wait until the proxy knows the way to the gateway and to a user's server again."""
        self.await_gateway()
        url = f"{self.url}/user/{user}/po/api/v1/health"
        await_true(lambda: _status(url) in (200, 401, 403), 120, "the way to the server", self.log)

    def log(self) -> str:
        """What the hub and its services wrote."""
        return (self.folder / "hub.log").read_text(errors="replace")

    # -- users -------------------------------------------------------------------------------------
    def start_server(self, user: str) -> None:
        """Start a user's server and wait until it is ready."""
        response = self.api.post(f"users/{user}/server", timeout=WAIT + 30)
        assert response.status_code in (201, 202), response.text
        await_true(lambda: self.server(user).get("ready", False), WAIT, f"{user}'s server", self.log)

    def stop_server(self, user: str) -> None:
        """Stop a user's server as the hub does, and wait until it is gone."""
        response = self.api.delete(f"users/{user}/server", timeout=WAIT)
        assert response.status_code in (202, 204), response.text
        await_true(lambda: not self.server(user), WAIT, f"the stop of {user}'s server", self.log)

    def server(self, user: str) -> dict[str, Any]:
        """What the hub says of a user's server; empty when there is none."""
        servers: dict[str, Any] = self.api.get(f"users/{user}").json().get("servers", {})
        return dict(servers.get("", {}))

    def server_pid(self, user: str) -> int:
        """The process of a user's server."""
        prefix = f"/user/{user}/"
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                variables, command = process.environ(), " ".join(process.cmdline())
                mine = variables.get("PO_HUB_URL") == self.gateway_url
                of_user = variables.get("JUPYTERHUB_SERVICE_PREFIX") == prefix
                if mine and of_user and "jupyterhub.singleuser" in command:
                    return int(process.pid)
        raise LookupError(f"no server of {user} runs")

    def new_token(self, user: str, scopes: Sequence[str] | None = None) -> str:
        """A token of a user's, with all that they may or some scopes."""
        body: dict[str, Any] = {"note": "test"}
        if scopes is not None:
            body["scopes"] = list(scopes)
        response = self.api.post(f"users/{user}/tokens", json=body)
        assert response.status_code == 201, response.text
        return str(response.json()["token"])

    def po(self, user: str, token: str | None = None) -> httpx.Client:
        """A client of the API of po_jupyter in a user's server, through the proxy."""
        if token is None and user not in self._tokens:
            self._tokens[user] = self.new_token(user, [f"access:servers!user={user}"])
        return httpx.Client(
            base_url=f"{self.url}/user/{user}/po/api/v1/",
            headers={"Authorization": f"token {token or self._tokens[user]}"},
            trust_env=False,
            timeout=30,
        )


def _is_service(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.environ().get("JUPYTERHUB_SERVICE_NAME"))
    return False


def _status(url: str) -> int:
    try:
        return httpx.get(url, trust_env=False, timeout=5, follow_redirects=False).status_code
    except httpx.HTTPError:
        return 0


def _answers(url: str) -> bool:
    return _status(url) > 0


def await_true(condition: Callable[[], bool], seconds: float, what: str, log: Callable[[], str] = str) -> None:
    """Look until it is so. Fails with what was waited for, and the end of a log."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(httpx.HTTPError, LookupError):
            if condition():
                return
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds:g} s\n{log()[-4000:]}")


@contextlib.contextmanager
def real_hub(folder: Path, **options: Any) -> Iterator[RealHub]:
    """A `RealHub`, or a skip where none can be run."""
    need_hub()
    with RealHub(folder, **options) as hub:
        yield hub
