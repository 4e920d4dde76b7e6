"""Addresses of Jupyter servers, from what they write about themselves."""

from __future__ import annotations

import pytest

from po_jupyter.platform.server_address import ServerAddress, connectable, server_address


@pytest.mark.parametrize(
    ("info", "url"),
    [
        ({"hostname": "localhost", "port": 8888, "base_url": "/"}, "http://localhost:8888/"),
        ({"hostname": "localhost", "port": 8888, "base_url": "/user/a/", "secure": True}, "https://localhost:8888/user/a/"),
        ({"hostname": "0.0.0.0", "port": 1}, "http://127.0.0.1:1/"),
        ({"hostname": "::", "port": 1}, "http://127.0.0.1:1/"),
        ({"hostname": "", "port": 1}, "http://127.0.0.1:1/"),
        ({"port": 1}, "http://127.0.0.1:1/"),
        ({"hostname": "::1", "port": 1}, "http://[::1]:1/"),
    ],
)  # fmt: skip
def test_a_server_is_connected_to_where_it_listens(info: dict[str, object], url: str) -> None:
    assert server_address(info) == ServerAddress(url)


def test_a_server_on_a_unix_socket_has_its_path() -> None:
    info = {"sock": "%2Frun%2Fa%20b.sock", "base_url": "/po/", "port": 0, "hostname": ""}
    assert server_address(info) == ServerAddress("http://localhost/po/", "/run/a b.sock")


@pytest.mark.parametrize(
    ("bound", "url"),
    [
        ("http://0.0.0.0:8000/x", "http://127.0.0.1:8000/x"),
        ("http://[::]:8000", "http://127.0.0.1:8000"),
        ("http://:8000", "http://127.0.0.1:8000"),
        ("http://0.0.0.0", "http://127.0.0.1:80"),
        ("https://example.org:1/x?y", "https://example.org:1/x?y"),
    ],
)
def test_a_bind_address_becomes_one_to_connect_to(bound: str, url: str) -> None:
    assert connectable(bound) == url
