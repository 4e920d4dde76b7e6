"""URLs of brokers, taken apart; what is secret in them is never shown."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from po_jupyter.errors import InvalidSettings

# Scheme: (broker, TLS, port). SQS speaks HTTPS unless the URL says `secure=false`.
SCHEMES = {
    "redis": ("redis", False, 6379),
    "rediss": ("redis", True, 6379),
    "valkey": ("redis", False, 6379),
    "valkeys": ("redis", True, 6379),
    "amqp": ("rabbitmq", False, 5672),
    "amqps": ("rabbitmq", True, 5671),
    "sqs": ("sqs", True, None),
}
OPTIONS = {
    "redis": ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"),
    "rabbitmq": ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"),
    "sqs": ("region", "secure"),
}


class BrokerUrl(NamedTuple):
    """The parts of a broker's URL; `path` is Redis' database or RabbitMQ's virtual host."""

    broker: str
    tls: bool
    host: str | None
    port: int | None
    user: str | None
    password: str | None
    path: str
    options: dict[str, str]

    @property
    def place(self) -> str:
        """Where it is, for people: without user and password."""
        return f"{self.broker} at {self.host}:{self.port}" if self.host else self.broker

    def without_secrets(self, text: str) -> str:
        """`text` with the password crossed out, as it is and as it stands in a URL."""
        if not self.password:
            return text
        return text.replace(self.password, "***").replace(quote(self.password, safe=""), "***")

    def __repr__(self) -> str:
        """For logs and tracebacks."""
        return f"<{self.place}>"


def parse_url(url: str) -> BrokerUrl:
    """The parts of a URL. Raises InvalidSettings, which does not repeat it."""
    try:
        parts = urlsplit(url)
        port = parts.port
        if "@" in parts.path:  # the end of a password with a / in it: its rest would be shown as a name
            raise ValueError
    except ValueError:
        raise InvalidSettings(
            "the broker's URL cannot be read: special characters are written as %XX"
        ) from None
    if parts.scheme not in SCHEMES:
        raise InvalidSettings(f"a broker's URL begins with one of {', '.join(f'{s}://' for s in SCHEMES)}")
    broker, tls, usual = SCHEMES[parts.scheme]
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(options) - set(OPTIONS[broker])):
        raise InvalidSettings(f"the broker's URL has {unknown[0]}; {broker} knows {', '.join(OPTIONS[broker])}")
    if parts.hostname is None and broker != "sqs":
        raise InvalidSettings(f"the broker's URL names no host: {parts.scheme}://HOST:PORT/")
    path = unquote(parts.path.removeprefix("/"))
    if broker == "redis" and path and not path.isdecimal():
        raise InvalidSettings(
            f"the broker's URL ends with the number of a database: {parts.scheme}://HOST:PORT/0"
        )
    if parts.fragment:
        raise InvalidSettings("the broker's URL has a #; in a password it is written as %23")
    if options.get("secure", "true") not in ("true", "false"):
        raise InvalidSettings("`secure` in the broker's URL is true or false")
    return BrokerUrl(
        broker=broker,
        tls=tls and options.get("secure") != "false",
        host=parts.hostname,
        port=port or usual,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        path=path,
        options=options,
    )
