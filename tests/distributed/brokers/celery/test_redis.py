"""Redis: what is its own at the server, and entries that are no messages."""

from __future__ import annotations

import json
import ssl
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.distributed.brokers.celery.broker import PushReceiver
from po_jupyter.distributed.brokers.celery.redis import RedisBroker, RedisChannel
from po_jupyter.distributed.brokers.celery.urls import parse_url


def test_bookkeeping_is_the_queues_own() -> None:
    """kombu's names are shared by all who use a database; its sweep would bring back what others are working on."""
    options = RedisBroker(parse_url("redis://h"), "po", 30).connection().transport_options
    assert {options[f"unacked_{kind}key"] for kind in ("", "index_", "mutex_")} == {
        "po.unacked", "po.unacked_index", "po.unacked_mutex",
    }  # fmt: skip
    assert (options["visibility_timeout"], options["unacked_restore_throttle"]) == (30, 12)
    assert (
        RedisBroker(parse_url("redis://h"), "po", 1).connection().transport_options["unacked_restore_throttle"]
        == 1
    )


def test_with_tls_the_server_is_checked() -> None:
    connection = RedisBroker(parse_url("rediss://me:pw@h/2?ssl_ca_certs=/ca.pem"), "po", 30).connection()
    assert connection.ssl["ssl_cert_reqs"] == ssl.CERT_REQUIRED
    assert connection.ssl["ssl_ca_certs"] == "/ca.pem"
    assert (connection.userid, connection.password, connection.virtual_host) == ("me", "pw", "2")
    assert not RedisBroker(parse_url("redis://h"), "po", 30).connection().ssl


DELIVERY: dict[str, Any] = {"exchange": "", "routing_key": "po"}
GOOD: dict[str, Any] = {
    "body": "e30=",
    "properties": {"delivery_tag": "1", "body_encoding": "base64", "delivery_info": DELIVERY},
}


@pytest.mark.parametrize(
    ("entry", "readable"),
    [
        (GOOD, True),
        ({**GOOD, "body": "a"}, False),
        ({**GOOD, "body": 3}, False),
        ({"body": "\ud800", "properties": {"delivery_tag": "1", "delivery_info": DELIVERY}}, False),
        ({**GOOD, "properties": {**GOOD["properties"], "delivery_tag": ["1"]}}, False),
        ({**GOOD, "properties": {**GOOD["properties"], "delivery_tag": None}}, False),
        ({**GOOD, "properties": {"delivery_tag": "1"}}, False),
        ({**GOOD, "properties": {**GOOD["properties"], "delivery_info": {}}}, False),
        (
            {**GOOD, "properties": {**GOOD["properties"], "delivery_info": {**DELIVERY, "routing_key": []}}},
            False,
        ),
        ({}, False),
        ([], False),
        (None, False),
    ],
    ids=repr,
)
def test_an_entry_that_kombu_cannot_read_is_known(entry: object, readable: bool) -> None:
    channel = RedisChannel.__new__(RedisChannel)
    assert channel._unreadable(json.dumps(entry).encode()) is not readable


@pytest.mark.parametrize("entry", [b"", b"\xff", b"[" * 100_000])
def test_bytes_that_are_no_json_are_known(entry: bytes) -> None:
    assert RedisChannel.__new__(RedisChannel)._unreadable(entry)


def test_a_priority_that_is_no_number_is_none() -> None:
    """Two messages that arrived together, one of them of somebody else's."""
    receiver = PushReceiver.__new__(PushReceiver)
    odd, good = SimpleNamespace(properties={"priority": "high"}), SimpleNamespace(properties={"priority": 3})
    receiver._arrived = [odd, good]  # type: ignore[list-item]
    assert [receiver.receive(0), receiver.receive(0)] == [good, odd]
