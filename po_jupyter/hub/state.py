"""The state of a gateway: what is made from its configuration, anew whenever that changes, and what stays."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from po_jupyter.errors import PoError
from po_jupyter.hub.accounts.admission import GatewayAdmission
from po_jupyter.hub.accounts.balances import Balances, Reservation
from po_jupyter.hub.accounts.ledger import Ledger
from po_jupyter.hub.accounts.periods import Calendar, Period
from po_jupyter.hub.config import GatewayConfig, LimitBook, Limits
from po_jupyter.hub.limits_file import LimitsFile
from po_jupyter.hub.team_models import TeamModels
from po_jupyter.hub.wires.bodies import BodyReading
from po_jupyter.hub.wires.meters import Pricer
from po_jupyter.hub.wires.upstreams import Upstream, VendorConnections, read_upstreams
from po_jupyter.llm.money.pricing import PriceBook

log = structlog.get_logger(__name__)
_LOOK = 2.0  # seconds between two looks at the file
_NO_LIMITS = Limits()


class GatewayState:
    """All that a running gateway knows.

    config, upstreams, models, pricer   made from the file
    balances, admission, ledger, vendors   what is used, by whom, and the connections
    bodies    those that are being read
    batches   the reservations of batches that are not settled, by what settles them
    """

    def __init__(
        self,
        file: LimitsFile,
        *,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read the configuration. Raises InvalidSettings."""
        self.file = file
        self.clock = clock
        self._environ = environ
        self.config: GatewayConfig
        self.upstreams: dict[str, Upstream]
        self.models: TeamModels
        self.pricer: Pricer
        self._take(file.read())
        self.balances = Balances(Calendar(self.config.time_zone), self._book, self._account)
        self.admission = GatewayAdmission(self.balances, lambda: self.config.queue, clock)
        self.ledger = Ledger(ledger_place(self.config, file.path, environ))
        self.vendors: VendorConnections
        self.bodies = BodyReading()
        self.batches: dict[str, list[Reservation]] = {}
        self._ids = itertools.count()
        self._boot = f"{time.time_ns():x}-{os.getpid():x}"
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the ledger and count what is in it. Raises StoreUnusable."""
        await asyncio.to_thread(self.ledger.open)
        self.vendors = VendorConnections(lambda: self.config.timeout)
        month = self.balances.calendar.period(self.clock()).month
        for row in await self.ledger.change(self.ledger.totals(f"{month}-01")):
            amounts = row.amounts
            period = Period(row.day, row.day[:7])
            self.balances.count(row.user, row.groups, period, amounts.calls, amounts.tokens, amounts.nano)
        for batch, hold in await self.ledger.change(Ledger.open_batches):
            self.balances.restore(hold)
            self.batches.setdefault(batch, []).append(hold)
        self._watch = asyncio.create_task(self._watch_file(), name="limits file")

    async def stop(self) -> None:
        """Close everything."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self.vendors.close()
        await asyncio.to_thread(self.ledger.close)

    def new_id(self) -> str:
        """A new name for a reservation."""
        return f"{self._boot}-{next(self._ids):x}"

    def reload(self) -> None:
        """Take over the file and the key files as they are now; the ledger's place alone stays. Raises InvalidSettings;
        the old configuration stays then."""
        config = self.file.read()
        self._take(config)
        self.balances.calendar = Calendar(config.time_zone)

    def reload_or_log(self) -> None:
        """The same where nobody waits for the outcome."""
        try:
            self.reload()
            log.info("limits were read again")
        except PoError as error:
            log.error("limits cannot be read: the old ones stay", error=str(error)[:500])

    def _take(self, config: GatewayConfig) -> None:
        upstreams = read_upstreams(config, self.file.path.parent, self._environ)
        prices = PriceBook(config.prices, base_url=lambda ref: _address(upstreams, ref))
        self.config, self.upstreams = config, upstreams
        self.models, self.pricer = TeamModels(config), Pricer(prices)
        self.prices = prices

    def _book(self) -> LimitBook:
        return self.config.limits

    def _account(self, provider: str) -> Limits:
        upstream = self.upstreams.get(provider)
        return upstream.limits if upstream is not None else _NO_LIMITS

    async def _watch_file(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            if self.file.has_changed():
                self.reload_or_log()


def _address(upstreams: Mapping[str, Upstream], ref: str) -> str | None:
    upstream = upstreams.get(ref.partition(":")[0])
    return upstream.base_url if upstream is not None else None


def ledger_place(config: GatewayConfig, file: Path, environ: Mapping[str, str]) -> str:
    """Where the ledger is: a path or a URL."""
    place = environ.get(config.ledger_env, "") if config.ledger_env else config.ledger
    if place.startswith(("postgresql://", "postgres://")):
        return place
    return str(file.parent / (place or "ledger.sqlite"))
