"""Redis and Valkey: priorities as lists, urgent ones first; dead letters as one more list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from kombu import Connection, Producer
from kombu.message import Message
from kombu.transport import redis as kombu_redis
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from po_jupyter.distributed.brokers.celery.broker import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    MAX_DEAD,
    Broker,
    PushReceiver,
    Receiver,
    tls_options,
)
from po_jupyter.distributed.brokers.protocol import PRIORITIES, RunMessage

TOP = max(PRIORITIES)
POP_SECONDS = 0.5  # that one pop waits at the server, and closing with it


class RedisBroker(Broker):
    """A Redis or Valkey server."""

    def connection(self) -> Connection:
        """A connection whose bookkeeping of unanswered messages is this queue's own."""
        url = self.url
        tls = {f"ssl_{key}": value for key, value in tls_options(url).items()} if url.tls else False
        return Connection(
            hostname=url.host, port=url.port, userid=url.user, password=url.password,
            virtual_host=url.path or "0", transport=RedisTransport, ssl=tls, connect_timeout=CONNECT_SECONDS,
            transport_options={
                "priority_steps": list(PRIORITIES),
                "queue_order_strategy": "priority",
                "visibility_timeout": self.redelivery,
                # Else they are shared with whoever uses this database through kombu, and so is the time.
                "unacked_key": f"{self.name}.unacked",
                "unacked_index_key": f"{self.name}.unacked_index",
                "unacked_mutex_key": f"{self.name}.unacked_mutex",
                "unacked_mutex_expire": 10,  # of a consumer that died while it looked
                # A consumer that waits looks some times within that time whether another one has left something.
                "unacked_restore_throttle": max(1, round(self.redelivery / (5 * POP_SECONDS))),
                "socket_timeout": ANSWER_SECONDS, "socket_connect_timeout": CONNECT_SECONDS,
                "socket_keepalive": True, "health_check_interval": 10,
                "dead_letters": self.dead,
            },
        )  # fmt: skip

    def route(self, message: RunMessage) -> tuple[str, int]:
        """For kombu's Redis 0 is the most urgent."""
        return self.base(message.labels), TOP - message.priority

    def close_transport(self, transport: Any) -> None:
        """Sockets of channels that could not say goodbye, and the poller."""
        for channel in [*transport.channels, *transport._avail_channels]:
            channel._disconnect_pools()
            channel._close_clients()
        transport.cycle.poller.close()

    def receiver(self, connection: Connection, names: Sequence[str]) -> Receiver:
        """Messages are sent to us, as the answer to a pop that waits."""
        return PushReceiver(connection, [self.queue(name) for name in names])

    def bury(self, message: Message, producer: Producer, reason: str) -> None:
        """As on the others, and no longer list than on the others."""
        super().bury(message, producer, reason)
        with producer.channel.conn_or_acquire() as client:
            client.ltrim(self.dead, 0, MAX_DEAD - 1)


class RedisChannel(kombu_redis.Channel):  # type: ignore[misc]  # kombu's own are untyped
    """kombu's channel, which does not break on an entry that is no message: that is dead-lettered."""

    from_transport_options = (*kombu_redis.Channel.from_transport_options, "dead_letters")
    dead_letters = ""

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """Without redis-py's own tries again, which wait for seconds while others wait for us."""
        parameters: dict[str, Any] = super()._connparams(asynchronous)
        return {**parameters, "retry": Retry(NoBackoff(), 0)}

    def _get_client(self) -> Any:
        return partial(_Client, unreadable=self._unreadable, dead=self.dead_letters)

    def _unreadable(self, item: bytes) -> bool:
        try:
            payload = json.loads(item)
            message = self.Message(payload, channel=self)
            info = message.delivery_info
            # What kombu needs to write it down as unanswered, and to bring it back from there.
            needed = (message.delivery_tag, info["routing_key"], info["exchange"])
            return bool(message.errors) or not all(isinstance(text, str) for text in needed)
        except Exception:  # whatever it is, it would end the connection and be lost
            return True


class _Client(Redis):  # type: ignore[misc]  # it has no types
    """A client that gives no entry to kombu that it cannot read."""

    def __init__(self, *args: Any, unreadable: Any, dead: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self._unreadable, self._dead = unreadable, dead

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        """The reply; None, as if nothing had come, for an entry that was dead-lettered."""
        reply = super().parse_response(connection, command_name, **options)
        if command_name == "BRPOP" and reply and self._unreadable(reply[1]):
            self.lpush(self._dead, reply[1])
            self.ltrim(self._dead, 0, MAX_DEAD - 1)
            return None
        return reply


class RedisTransport(kombu_redis.Transport):  # type: ignore[misc]  # it has no types
    """kombu's transport with that channel."""

    Channel = RedisChannel
    brpop_timeout = POP_SECONDS
