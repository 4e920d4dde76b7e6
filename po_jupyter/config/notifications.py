"""The settings of notifications: who is told, of what, and how a receiver knows that it is us."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, model_validator

NotificationEvent = Literal["done", "failed", "budget", "dead", "gate", "cancelled"]
SECRET_PREFIX = "whsec_"  # noqa: S105 - what Standard Webhooks put before a secret
_SECRET_BYTES = range(24, 65)  # what Standard Webhooks allow
_SERVICE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://\S")  # what is before the colon is shown
_HOW_TO_SIGN = "`po help notifications` shows how to make one"


def _receiver_url(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable or any(sign.isspace() for sign in value.get_secret_value()):
        raise ValueError("needs an address that begins with https:// or http://")
    if "@" in parts.netloc:
        raise ValueError("has a name or a password in its address; a receiver knows us by `secret`")
    return value


def _service_url(value: SecretStr) -> SecretStr:
    if not _SERVICE.match(value.get_secret_value()):
        raise ValueError("needs the URL of a service as apprise writes it, for example `mailtos://`...")
    return value


def _signing_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(SECRET_PREFIX) or len(key) not in _SECRET_BYTES:
        raise ValueError(f"needs `{SECRET_PREFIX}` and 24 to 64 bytes in base64 behind it; {_HOW_TO_SIGN}")
    return value


class NotificationChannel(BaseModel):
    """One receiver of notifications: the address of a `webhook` with the `secret` that its requests are signed with, or
    the URL of a service that `apprise` knows (mail, chat). `events` are what it is told of.

    An address may be a secret itself: it is printed nowhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    webhook: Annotated[SecretStr, AfterValidator(_receiver_url)] | None = None
    secret: Annotated[SecretStr, AfterValidator(_signing_secret)] | None = None
    apprise: Annotated[SecretStr, AfterValidator(_service_url)] | None = None
    events: tuple[NotificationEvent, ...] = ("done", "failed", "budget", "dead", "gate")

    @model_validator(mode="after")
    def _one_way(self) -> NotificationChannel:
        if (self.webhook is None) == (self.apprise is None):
            raise ValueError("a channel has either a `webhook` with its `secret`, or an `apprise` URL")
        if (self.webhook is None) != (self.secret is None):
            raise ValueError(f"`webhook` and `secret` belong together; {_HOW_TO_SIGN}")
        return self

    def secrets(self) -> list[str]:
        """What of it must not be seen."""
        values = (self.webhook, self.secret, self.apprise)
        return [value.get_secret_value() for value in values if value is not None]
