"""Short-lived credentials: those of a login, which end after an hour or so and are obtained anew before that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from po_jupyter.errors import ModelKeyError

EXPIRES = "PO_CREDENTIALS_EXPIRE"
"""The variable beside the credentials that says when they end: seconds since 1970, as text."""
_EARLY = 300.0  # s before their end
_PATIENCE = 60.0  # s: a login program that waits for somebody is not waited for


class ShortLivedCredentials:
    """The credentials of one provider's login, as variables. Lives on one loop; its repr shows none of them."""

    def __init__(self, first: Mapping[str, str], obtain: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        """`first` are those that are there already, if any; `obtain` gets new ones, and raises ModelKeyError."""
        self._current = dict(first)
        self._obtain = obtain
        self._lock = asyncio.Lock()

    async def current(self) -> Mapping[str, str]:
        """Credentials that are good for some minutes more. Raises what `obtain` raises."""
        if not self._is_good():
            async with self._lock:  # once, however many rows ask
                if not self._is_good():
                    async with asyncio.timeout(_PATIENCE):
                        obtained = dict(await self._obtain())
                    if not obtained:
                        raise ModelKeyError("there is no key here, and a login of one's own may not be used")
                    self._current = obtained
        return self._current

    def reject(self, credentials: Mapping[str, str]) -> None:
        """Forget credentials that the vendor says are at their end."""
        if credentials is self._current:
            self._current = {}

    def _is_good(self) -> bool:
        if not self._current:
            return False
        expires = self._current.get(EXPIRES, "")
        return not expires or time.time() < float(expires) - _EARLY
