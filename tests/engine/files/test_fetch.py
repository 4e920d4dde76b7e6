"""Fetching an image's URL (P6, P10): https, public addresses, the address that was checked, bounded."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from po_jupyter.engine.files.fetch import fetch, is_public
from po_jupyter.errors import InvalidInput, StageFailed


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to"))
            self.end_headers()
        elif self.path == "/inside":
            self.send_response(302)
            self.send_header("Location", "https://10.0.0.1/secret")
            self.end_headers()
        elif self.path == "/large":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * 3000)
        elif self.path == "/picture":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"picture for {self.headers['Host'].partition(':')[0]}".encode())
        else:
            self.send_response(404)
            self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, ssl.SSLContext]]:
    """(`https://localhost:PORT`, what trusts it)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    pem = serialization.Encoding.PEM
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    trusting = ssl.create_default_context(cadata=certificate.public_bytes(pem).decode())
    try:
        yield f"https://localhost:{server.server_port}", trusting
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


@pytest.mark.integration
async def test_the_content_comes_from_the_address_that_was_checked(site: tuple[str, ssl.SSLContext]) -> None:
    """The connection goes to the checked address; the name is still what the certificate has to have."""
    url, trusting = site
    for path in ("/picture", "/to/picture", "/to/to/to/picture"):
        got = await fetch(url + path, limit=1000, allowed=loopback, verify=trusting)
        assert got == b"picture for localhost"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/large", "larger than 1,000 bytes"),
        ("/none?key=secret", "answered 404"),
        ("/to/to/to/to/picture", "redirected more than 3 times"),
        ("/inside", "no address of the internet"),
    ],
)
@pytest.mark.integration
async def test_what_is_in_the_way_is_said(site: tuple[str, ssl.SSLContext], path: str, words: str) -> None:
    """P11; nothing of a query is repeated (P10), and no redirect leads inside."""
    url, trusting = site
    with pytest.raises(InvalidInput) as caught:
        await fetch(url + path, limit=1000, allowed=loopback, verify=trusting)
    assert words in caught.value.message
    assert "secret" not in str(caught.value).replace("/secret", "")


@pytest.mark.integration
async def test_a_certificate_that_nobody_signed_is_refused(site: tuple[str, ssl.SSLContext]) -> None:
    with pytest.raises(StageFailed, match="cannot be fetched"):
        await fetch(site[0] + "/picture", limit=1000, allowed=loopback)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "0.0.0.0", "::1", "fe80::1", "fc00::1",
     "::ffff:127.0.0.1", "100.64.0.1", "224.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1",
     "2002:7f00:1::", "2002:a9fe:a9fe::1", "::127.0.0.1", "fec0::1"],
)  # fmt: skip
def test_addresses_inside_are_not_public(address: str) -> None:
    """P6: data opens no door of the network."""
    assert not is_public(address)


def test_addresses_of_the_internet_are() -> None:
    assert is_public("93.184.215.14")
    assert is_public("2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    assert is_public("64:ff9b::5db8:d70e")


@pytest.mark.parametrize(
    "url",
    ["https://h:abc/x?k=secret", "https://h:99999/x", "https://[::1/x?k=secret", f"https://{'a' * 70}.com/", "https://a..b/"],
)  # fmt: skip
async def test_what_is_no_url_is_one_clear_error(url: str) -> None:
    """P11: a row's data may be anything; it is no defect of ours."""
    with pytest.raises(InvalidInput) as caught:
        await fetch(url, limit=10)
    assert "is no URL" in caught.value.message
    assert "secret" not in caught.value.message
