"""Proxies and certificates of the environment: which are used, and what is said of those that cannot be."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import certifi
import pytest

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.wire.http import Http, Target
from po_jupyter.llm.wire.proxies import network_problems, proxy_for

FAR = "https://far.example/v1"


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "p:1"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": "http://p:2"}, "http://p:2"),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": ""}, None),
        ({"ALL_PROXY": "http://p:3"}, "http://p:3"),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ({}, None),
    ],
)
def test_the_proxy_of_a_url(environ: dict[str, str], proxy: str | None) -> None:
    found = proxy_for(FAR, environ)
    assert (found.url if found else None) == proxy
    assert proxy_for("http://127.0.0.1:9/v1", environ) is None


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"ALL_PROXY": "socks://p:1080"},
            "ALL_PROXY is socks://p:1080: proxies of the kind socks are not spoken",
        ),
        ({"all_proxy": "socks5h://u:secret@p:1"}, "all_proxy is socks5h://p:1:"),
        ({"HTTPS_PROXY": "http://p:port"}, "HTTPS_PROXY is no proxy such as http://"),
        ({"https_proxy": "http://"}, "https_proxy is no proxy such as"),
        ({"https_proxy": "p q:1"}, "https_proxy is no proxy such as"),
        ({"SSL_CERT_FILE": "/gone"}, "SSL_CERT_FILE is /gone, which cannot be used: No such file"),
        ({"SSL_CERT_FILE": "/"}, "SSL_CERT_FILE is /, which cannot be used: "),
        ({"SSL_CERT_FILE": __file__}, "there is no certificate in it"),
        ({"SSL_CERT_DIR": "/gone"}, "SSL_CERT_DIR is /gone, which cannot be used: there is no such directory"),
    ],
)
def test_what_cannot_be_used_is_said_of_its_variable(environ: dict[str, str], message: str) -> None:
    """They ended as raw exceptions inside the call."""
    (problem,) = network_problems(FAR, environ)
    assert message in problem
    assert "secret" not in problem


@pytest.mark.parametrize(
    "environ",
    [
        {"http_proxy": "host:3128", "https_proxy": "host:3128"},
        {"HTTPS_PROXY": "https://p"},
        {"ALL_PROXY": "socks://p:1", "HTTPS_PROXY": "http://p:1"},
        {"ALL_PROXY": "socks://p:1", "NO_PROXY": "far.example"},
        {"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""},
        {"SSL_CERT_DIR": "/gone:/"},
    ],
)
def test_what_can_be_used_is_left_alone(environ: dict[str, str]) -> None:
    assert list(network_problems(FAR, environ)) == []
    assert (
        list(network_problems("http://127.0.0.1:1/v1", {"ALL_PROXY": "socks://p", "SSL_CERT_FILE": "/x"})) == []
    )


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of loopback that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def no_proxy_at_all(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch.setenv


@pytest.mark.parametrize(("variable", "value"), [("ALL_PROXY", "socks://p:1080"), ("SSL_CERT_FILE", "/gone")])
async def test_a_call_that_was_not_looked_at_before_names_the_variable_too(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that a Python task asks for is known to nobody before; another try would change nothing."""
    no_proxy_at_all(monkeypatch)(variable, value)
    http = Http()
    with pytest.raises(ModelRefused, match=f"far: {variable} is {value}"):
        await http.post(Target(FAR, key=None, name="far"), b"{}", seconds=5)
    await http.aclose()


@pytest.mark.integration
async def test_a_dead_proxy_is_not_blamed_on_the_host_of_the_model(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_proxy_at_all(monkeypatch)("HTTPS_PROXY", f"http://127.0.0.1:{closed_port}")
    http = Http()
    with pytest.raises(ModelUnavailable) as caught:
        await http.post(Target(FAR, key=None, name="far"), b"{}", seconds=5)
    await http.aclose()
    expected = f"far: cannot connect to the proxy 127.0.0.1:{closed_port} (HTTPS_PROXY) ("
    assert caught.value.message.startswith(expected)
    assert caught.value.outcome is None, "nothing was sent"


@pytest.mark.integration
async def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    no_proxy_at_all(monkeypatch)("https_proxy", f"127.0.0.1:{port}")
    http = Http()
    async with server:
        with pytest.raises(
            ModelUnavailable, match=rf"the proxy 127\.0\.0\.1:{port} \(https_proxy\) refused with 407"
        ):
            await http.post(Target(FAR, key=None, name="far"), b"{}", seconds=5)
    await http.aclose()


def test_the_password_of_a_proxy_is_in_no_message() -> None:
    """P10."""
    assert str(proxy_for(FAR, {"HTTPS_PROXY": "http://u:secret@p:1"})) == "the proxy p:1 (HTTPS_PROXY)"


def test_certificates_of_ones_own_are_taken(tmp_path: Path) -> None:
    authorities = ssl.get_default_verify_paths().cafile

    assert list(network_problems(FAR, {"SSL_CERT_FILE": authorities or certifi.where()})) == []


def test_a_file_of_certificates_is_loaded_once_and_again_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the providers asks, and the authorities of a machine take 20 ms to load."""
    loads: list[str] = []
    load = ssl.create_default_context

    def counted(*, cafile: str) -> ssl.SSLContext:
        loads.append(cafile)
        return load(cafile=cafile)

    monkeypatch.setattr(ssl, "create_default_context", counted)
    file = tmp_path / "authorities.pem"
    file.write_text("none")
    environ = {"SSL_CERT_FILE": str(file)}
    assert len([problem for _ in range(3) for problem in network_problems(FAR, environ)]) == 3
    assert len(loads) == 1
    file.unlink()
    assert [problem.rpartition(": ")[2] for problem in network_problems(FAR, environ)] == [
        "No such file or directory"
    ]
    shutil.copy(certifi.where(), file)
    assert list(network_problems(FAR, environ)) == list(network_problems(FAR, environ)) == []
    assert len(loads) == 2
