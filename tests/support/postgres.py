"""A PostgreSQL server of the tests' own, from the programs that Debian installs, in its own directory."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

# How a program writes heads that knows neither their priority nor their place (format 2).
HEAD_BEFORE = """INSERT INTO {table} AS head (run, owner, pipeline, state, body)
    SELECT run, owner, pipeline, state, body FROM (VALUES
        (%s::text, %s::bytea, %s::bytea, %s::text, %s::bytea, %s::integer, %s::integer, %s::boolean, %s::integer)
    ) AS new(run, owner, pipeline, state, body, priority, place, is_child, kind)
    ON CONFLICT (run) DO UPDATE SET state = EXCLUDED.state, body = EXCLUDED.body"""


def programs() -> Path | None:
    """The directory of initdb and postgres, the newest; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).parent if there else None


class PostgresServer:
    """A running server, on a Unix socket alone. `url` is of its database; each schema is a store of its own."""

    def __init__(self, folder: Path, bin: Path, *, durable: bool = False) -> None:
        self._folder, self._bin, self._durable = folder, bin, durable
        # As root it refuses to run: somebody else does then, who has nothing else.
        self._user = "nobody" if os.getuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._listen: list[str] = ["-c", "listen_addresses="]
        name = self._user or pwd.getpwuid(os.getuid()).pw_name
        self.database = f"postgresql://{quote(name)}@/postgres?host={quote(str(folder), safe='')}"
        if self._user is not None:
            shutil.chown(folder, self._user)
        options = ["-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        initdb = [bin / "initdb", "-D", folder / "data", *options]
        subprocess.run(initdb, check=True, capture_output=True, user=self._user, cwd=folder)

    @property
    def folder(self) -> str:
        """Where its socket is."""
        return str(self._folder)

    @property
    def programs(self) -> str:
        """Where psql and pg_dump are."""
        return str(self._bin)

    @property
    def pid(self) -> int:
        """Of the process that is above all of its others."""
        assert self._process is not None
        return self._process.pid

    def url(self, schema: str | None = None) -> str:
        """The URL of a store that nobody has used."""
        return f"{self.database}&schema={schema or 's' + uuid.uuid4().hex[:12]}"

    def listen_at(self, address: str, port: int, net: str) -> str:
        """Listen there too from the next start on, for everybody of `net`; the URL as one of them has it."""
        self._listen = ["-c", f"listen_addresses={address}", "-p", str(port)]
        with (self._folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {net} trust\n")
        name = self.database.partition("//")[2].partition("@")[0]
        self.database = self.database.replace("?", f"?port={port}&", 1)
        return f"postgresql://{name}@{address}:{port}/postgres?"

    def start(self) -> None:
        options = ["-k", self._folder, *self._listen, "-c", "max_connections=200"]
        # What was written outlives the death of a process, which is all that dies here: no test waits for the disk.
        options += ["-c", f"fsync={'on' if self._durable else 'off'}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._folder / "data", *options],
                user=self._user, cwd=self._folder, stdout=log, stderr=log,
            )  # fmt: skip
        ready = [self._bin / "pg_isready", "-q", "-h", self._folder, "-d", "postgres"]
        ready += self._listen[2:]
        while subprocess.run(ready, check=False).returncode:
            if self._process.poll() is not None:
                raise RuntimeError((self._folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        with suppress(FileNotFoundError):
            (self._folder / "data" / "postmaster.pid").unlink()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A server of its own; `durable`: what it answers is on the disk, for those who measure."""
    bin = programs()
    if bin is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="po-pg-", dir="/tmp"))  # short: Unix sockets; not below root's own
    try:
        server = PostgresServer(folder, bin, durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
