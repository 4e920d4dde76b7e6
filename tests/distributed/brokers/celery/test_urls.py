"""URLs of brokers: what they say, and that nothing shows what is secret in them."""

from __future__ import annotations

import pytest

from po_jupyter.distributed.brokers.celery.urls import parse_url
from po_jupyter.distributed.brokers.opening import open_queue
from po_jupyter.errors import InvalidSettings


@pytest.mark.parametrize(
    ("url", "broker", "tls", "host", "port", "path"),
    [
        ("redis://127.0.0.1/3", "redis", False, "127.0.0.1", 6379, "3"),
        ("valkeys://example.org:7000", "redis", True, "example.org", 7000, ""),
        ("amqp://example.org//", "rabbitmq", False, "example.org", 5672, "/"),
        ("amqp://example.org/%2F", "rabbitmq", False, "example.org", 5672, "/"),
        ("amqps://[::1]/po", "rabbitmq", True, "::1", 5671, "po"),
        ("sqs://", "sqs", True, None, None, ""),
        ("sqs://k:s@localhost:9324?secure=false&region=eu-west-1", "sqs", False, "localhost", 9324, ""),
    ],
)
def test_the_parts_of_a_url(
    url: str, broker: str, tls: bool, host: str | None, port: int | None, path: str
) -> None:
    found = parse_url(url)
    assert (found.broker, found.tls, found.host, found.port, found.path) == (broker, tls, host, port, path)


def test_a_password_may_have_any_character() -> None:
    found = parse_url("redis://me:p%40ss%2Fw%23rd@h/0")
    assert (found.user, found.password) == ("me", "p@ss/w#rd")
    assert found.without_secrets("at me:p@ss/w#rd@h, p%40ss%2Fw%23rd") == "at me:***@h, ***"


def test_nothing_shows_the_password() -> None:
    found = parse_url("redis://me:p%40ss@h/0")
    assert "p@ss" not in f"{found!r} {found} {found.place}"
    assert "p@ss" not in repr(open_queue("redis://me:p%40ss@h/0"))


@pytest.mark.parametrize(
    "url",
    [
        "", "h", "http://u:p4ss@h", "redis://", "redis:///0", "amqp://u:p4ss@h:port/", "redis://u:p4ss#@h/0",
        "redis://u:p4ss@h/0?colour=red", "sqs://u:p4ss@h?secure=maybe", "redis://u:p4ss@[h/0", "redis://u:12/p4ss@h/0",
        "redis://u:p4ss@h/abc", "valkey://u:p4ss@h/-1",
    ],
)  # fmt: skip
def test_what_is_no_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        open_queue(url)
    assert "p4ss" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "x" * 41])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidSettings, match="name"):
        open_queue("redis://h", name=name)
