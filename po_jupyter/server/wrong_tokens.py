"""Wrong tokens: an address that sends many has to wait, longer each time, before anybody is asked about the next one.

What was right here before is let through, so that nobody who guesses from the same address (a proxy, this machine)
locks out those who are at work. A token that is sent again and again tells its sender nothing new: it makes itself
wait, not the address.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from po_jupyter.errors import RateLimited

_LONGEST = 600.0  # s
_FORGOTTEN = 900.0  # s without another wrong one
_KEPT = 10_000  # addresses and tokens that are remembered


@dataclass(slots=True)
class _Attempts:
    count: int = 0
    blocked_until: float = 0.0
    at: float = 0.0


class WrongTokens:
    """Counts the wrong tokens of each address. For this server alone."""

    def __init__(self, free: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`free` of them cost nothing."""
        self._free = free
        self._clock = clock
        self._attempts: OrderedDict[tuple[str, str], _Attempts] = OrderedDict()  # (address, token or "")
        self._right: OrderedDict[tuple[str, str], None] = OrderedDict()

    def check(self, address: str, token: str) -> None:
        """Before a token (or its digest) is looked at. Raises RateLimited, which says how long to wait."""
        place = place_of(address)
        if (place, token) in self._right:
            return
        now = self._clock()
        waits = [
            self._attempts[key].blocked_until - now
            for key in ((place, ""), (place, token))
            if key in self._attempts
        ]
        if (wait := math.ceil(max(waits, default=0.0))) > 0:
            raise RateLimited(
                "too many wrong tokens came from this address",
                hint=f"Wait {wait} s. Look for a program that still has an old token.",
                details={"retry_after": wait},
            )

    def wrong(self, address: str, token: str) -> None:
        """Count one that was wrong."""
        place = place_of(address)
        self._right.pop((place, token), None)
        if self._counted((place, token)) == 1:
            self._counted((place, ""))

    def right(self, address: str, token: str) -> None:
        """Remember one that was right."""
        key = place_of(address), token
        self._right[key] = None
        self._right.move_to_end(key)
        while len(self._right) > _KEPT:
            self._right.popitem(last=False)

    def _counted(self, key: tuple[str, str]) -> int:
        now = self._clock()
        attempts = self._attempts.setdefault(key, _Attempts())
        self._attempts.move_to_end(key)
        if now - max(attempts.at, attempts.blocked_until) > _FORGOTTEN:
            attempts.count = 0
        attempts.count, attempts.at = attempts.count + 1, now
        if (beyond := attempts.count - self._free) > 0:
            attempts.blocked_until = now + min(_LONGEST, 2.0 ** min(beyond - 1, 16))
        while len(self._attempts) > _KEPT:
            self._attempts.popitem(last=False)
        return attempts.count


def place_of(address: str) -> str:
    """Whoever can choose among addresses counts once: of IPv6 the network of 64 bits that one customer has."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((int(ip), 64), strict=False))
    return str(ip)
