"""The message queue that a URL names."""

from __future__ import annotations

import re

from po_jupyter.distributed.brokers.protocol import MessageQueue
from po_jupyter.errors import InvalidSettings

NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


def check_url(url: str) -> None:
    """Raises InvalidSettings for a URL of no broker, or if the extra is missing. Asks nobody.

    Its libraries are imported here, before a node has a lease that it would not renew meanwhile."""
    try:
        from po_jupyter.distributed.brokers.celery import queue  # noqa: F401 - see above
        from po_jupyter.distributed.brokers.celery.urls import parse_url
    except ImportError as error:
        raise _missing(error) from None
    parse_url(url)


def open_queue(url: str, *, name: str = "po", redelivery: float = 30) -> MessageQueue:
    """The queue at `url`: redis, valkey, amqp (RabbitMQ) or sqs; rediss, valkeys and amqps with TLS.

    name         the first part of the names of everything at the broker: several stores may share one broker
    redelivery   seconds after which Redis and SQS give a message to another consumer that its first one did not answer;
                 longer than a `take` may block (RabbitMQ sees at once that a consumer has gone)

    Connects when it is first used. Raises InvalidSettings for a URL or name that is none, or if the extra is missing.
    """
    if not NAME.fullmatch(name):
        raise InvalidSettings(f"a queue's name is 1 to 40 letters, digits, - and _, not {name!r}")
    try:
        from po_jupyter.distributed.brokers.celery.queue import CeleryQueue
        from po_jupyter.distributed.brokers.celery.urls import parse_url
    except ImportError as error:
        raise _missing(error) from None
    return CeleryQueue(parse_url(url), name, redelivery)


def _missing(error: ImportError) -> InvalidSettings:
    return InvalidSettings(
        f"a message broker needs {error.name}, which is not installed", hint="pip install 'po_jupyter[celery]'"
    )
