"""RabbitMQ: queues with priorities and a place for what is rejected; connections that check the server."""

from __future__ import annotations

import ssl

import pytest

from po_jupyter.distributed.brokers.celery.rabbitmq import RabbitBroker
from po_jupyter.distributed.brokers.celery.urls import parse_url

BROKER = RabbitBroker(parse_url("amqp://h"), "po", 30)


def test_what_is_rejected_goes_to_the_dead_letters() -> None:
    arguments = BROKER.arguments("po")
    assert arguments["x-max-priority"] == 9
    assert (arguments["x-dead-letter-exchange"], arguments["x-dead-letter-routing-key"]) == ("", "po.dead")


def test_dead_letters_are_bounded_and_end_there() -> None:
    arguments = BROKER.arguments("po.dead")
    assert arguments == {"x-max-length": 10_000, "x-overflow": "drop-head"}


def test_with_tls_the_server_and_its_name_are_checked() -> None:
    connection = RabbitBroker(parse_url("amqps://h/?ssl_ca_certs=/ca.pem"), "po", 30).connection()
    assert connection.ssl["cert_reqs"] == ssl.CERT_REQUIRED
    assert (connection.ssl["server_hostname"], connection.ssl["ca_certs"]) == ("h", "/ca.pem")
    assert not BROKER.connection().ssl


@pytest.mark.parametrize(
    ("url", "host"), [("amqp://h", "/"), ("amqp://h/", "/"), ("amqp://h/%2F", "/"), ("amqp://h/po", "po")]
)
def test_the_virtual_host(url: str, host: str) -> None:
    assert RabbitBroker(parse_url(url), "po", 30).connection().virtual_host == host
