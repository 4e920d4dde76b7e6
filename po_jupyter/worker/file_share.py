"""Files of a run where other nodes find them: the worker has its node put and fetch them.

The node has the credentials of the place, so no worker and no code of a pipeline ever does. While the place cannot be
used the run waits, and says for what.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from po_jupyter.errors import Unavailable
from po_jupyter.ipc.messages import FETCH_FILES, KEEP_FILES, ResourceResponse

_AT_ONCE = 500  # files of one message, which has a bound
_FIRST, _LONGEST = 1.0, 30.0  # s between two tries

Ask = Callable[[str, dict[str, object]], Awaitable[ResourceResponse]]


class NodeFileShare:
    """Implements `RunFileShare` over the link."""

    def __init__(
        self, ask: Ask, on_wait: Callable[[str], object], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        """`ask` sends a request to the node, and raises Drained when the run is given back; `on_wait` gets what is
        waited for, for people; `sleep` ends early with Drained."""
        self._ask = ask
        self._on_wait = on_wait
        self._sleep = sleep

    async def keep(self, files: Sequence[tuple[str, int, str]]) -> None:
        """See `RunFileShare`."""
        for start in range(0, len(files), _AT_ONCE):
            await self._until_done(
                KEEP_FILES, {"files": [list(file) for file in files[start : start + _AT_ONCE]]}
            )

    async def fetch(self, files: Sequence[tuple[str, int, str]], rows: Sequence[str]) -> Mapping[str, str]:
        """See `RunFileShare`."""
        problems: dict[str, str] = {}
        for start in range(0, max(1, len(files)), _AT_ONCE):
            some: dict[str, object] = {"files": [list(file) for file in files[start : start + _AT_ONCE]]}
            if not start and rows:
                some["rows"] = list(rows)
            problems |= (await self._until_done(FETCH_FILES, some)).problems or {}
        return problems

    async def _until_done(self, what: str, about: dict[str, object]) -> ResourceResponse:
        delay = _FIRST
        while True:
            try:
                return await self._ask(what, about)
            except Unavailable as error:
                self._on_wait(error.message)
                await self._sleep(delay)
                delay = min(2 * delay, _LONGEST)
