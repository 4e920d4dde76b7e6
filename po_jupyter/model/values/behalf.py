"""The credential of a service that asks in the name of somebody: whose name it is, and the service's own token.

    po-behalf.<name in base64, for URLs>.<token>

It stands where a key would. The name is worth what the token is: whoever makes one up has no token that may do that.
"""

from __future__ import annotations

import base64
import binascii

_PREFIX = "po-behalf."
_MOST = 400  # characters of an encoded name


def behalf_token(name: str, token: str) -> str:
    """The credential of a service with that token, in the name of a person or of `group:NAME`."""
    return f"{_PREFIX}{base64.urlsafe_b64encode(name.encode()).decode()}.{token}"


def is_behalf(token: str) -> bool:
    """Whether a token says that it is one in somebody's name."""
    return token.startswith(_PREFIX)


def parse_behalf(token: str) -> tuple[str, str] | None:
    """(name, the service's token); None for one that is malformed, in whatever way."""
    encoded, _, own = token.removeprefix(_PREFIX).partition(".")
    if not is_behalf(token) or not encoded or not own or len(encoded) > _MOST:
        return None
    try:
        name = base64.b64decode(encoded.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return (name, own) if name and name.isprintable() and behalf_token(name, own) == token else None
