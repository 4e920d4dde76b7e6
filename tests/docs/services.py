"""What the pages of deployment need beside an orchestrator: a database, a broker, and programs that stay."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from tests.support.brokers import ValkeyServer, free_port, running
from tests.support.postgres import postgres_server

# Names of machines and ports that pages use, in the place of those that a test has.
DATABASE, BROKER = "db.example", "broker.example:6379"


class PageServices:
    """The services of one page. `names` are what stands in the page for them, and by what it is replaced."""

    def __init__(self, environ: dict[str, str]) -> None:
        """Starts nothing. `environ` is that of the page's commands."""
        self._environ = environ
        self._stack = ExitStack()
        self._staying: list[tuple[subprocess.Popen[str], threading.Thread]] = []
        self.names: dict[str, str] = {}

    def start_database(self) -> None:
        """A PostgreSQL whose superuser is `postgres`, as most have it; a URL's host may be a socket's folder."""
        server = self._stack.enter_context(postgres_server())
        server.execute("CREATE ROLE postgres SUPERUSER LOGIN")
        self.names[DATABASE] = quote(server.folder, safe="")
        self._environ["PATH"] = f"{self._environ['PATH']}{os.pathsep}{server.programs}"

    def start_broker(self) -> None:
        """A Valkey with a password of its own."""
        server = self._stack.enter_context(running(ValkeyServer))
        self.names[f":PASSWORD@{BROKER}"] = server.url.removeprefix("redis://").removesuffix("/0")

    def use_free_port(self, port: int) -> None:
        """Put a free port where the page says this one."""
        self.names[f":{port}"] = f":{(free := free_port())}"
        self.names[f"port={port}"] = f"port={free}"
        self.names[f"PORT={port}"] = f"PORT={free}"

    def replaced(self, text: str) -> str:
        """The text of a snippet with what this machine has."""
        for name, value in self.names.items():
            text = text.replace(name, value)
        return text

    def start_program(self, shell: str, text: str, until: str, folder: Path) -> None:
        """Start lines of a shell that stay, and wait until one of the lines that they print contains `until`."""
        process = subprocess.Popen(
            ["bash", "-c", shell + text], cwd=folder, env=self._environ, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if until in line:
                break
        else:
            raise AssertionError("it ended: " + "".join(seen))
        # What it says from now on is read, or its pipe would be full one day.
        reading = threading.Thread(target=process.stdout.read, daemon=True)
        reading.start()
        self._staying.append((process, reading))

    def close(self) -> None:
        """End programs by SIGTERM, each in order, then the services."""
        with self._stack:
            for process, _ in reversed(self._staying):
                os.killpg(process.pid, signal.SIGTERM)
            for process, reading in self._staying:
                reading.join(60)  # until all that had its output have ended
                still = reading.is_alive()
                if still:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                assert process.stdout is not None
                process.stdout.close()
                assert not still, f"it did not end: {process.args!r:.300}"
