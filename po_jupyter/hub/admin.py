"""What administrators ask: usage, metrics, and the limits, which change without a restart."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qsl

import structlog
from aiohttp import web
from pydantic import ValidationError

from po_jupyter.errors import PoError
from po_jupyter.hub.accounts.ledger import TotalRow
from po_jupyter.hub.accounts.ledger_database import LedgerDatabase
from po_jupyter.hub.accounts.usage_report import as_csv, as_lines, as_metrics, checked_by, checked_day, summed
from po_jupyter.hub.config import LimitBook
from po_jupyter.hub.identity import HubUser
from po_jupyter.hub.limits_file import violations_in
from po_jupyter.hub.own_answers import as_json, as_text
from po_jupyter.hub.problems import GatewayProblem, invalid
from po_jupyter.hub.state import GatewayState
from po_jupyter.hub.wires.bodies import read_body
from po_jupyter.hub.wires.request_bounds import read_json

log = structlog.get_logger(__name__)
_MOST = 2**20  # bytes of limits


def check_admin(user: HubUser) -> None:
    """Refuse who is no administrator. Raises GatewayProblem."""
    if not user.is_admin:
        raise GatewayProblem(403, "no_access", f"{user.name} has not the scope custom:po:admin")


class Administration:
    """The actions of administrators."""

    def __init__(self, state: GatewayState) -> None:
        """Over the state of a gateway."""
        self._state = state
        self._writing = asyncio.Lock()

    async def usage(self, request: web.BaseRequest, user: HubUser) -> web.StreamResponse:
        """`GET api/admin/usage?by=user|group|model&from=&to=&format=json|csv|jsonl`; by default this month by user."""
        check_admin(user)
        query = query_of(request, {"by", "from", "to", "format"})
        by, kind = checked_by(query.get("by", "user")), query.get("format", "json")
        if kind not in ("json", "csv", "jsonl"):
            raise invalid("`format` is json, csv or jsonl")
        since, until = self.this_month(), "9999-12-31"
        if "from" in query:
            since = checked_day(query["from"], "from")
        if "to" in query:
            until = checked_day(query["to"], "to")
        rows = summed(await self.totals(since, until), by)
        if kind == "csv":
            return as_text(as_csv(rows), "text/csv", download=f"usage-by-{by}.csv")
        if kind == "jsonl":
            return as_text(as_lines(rows), "application/x-ndjson", download=f"usage-by-{by}.jsonl")
        return as_json({"by": by, "from": since, "to": until, "rows": rows})

    async def metrics(self, request: web.BaseRequest, user: HubUser) -> web.StreamResponse:
        """`GET api/admin/metrics`: this month for Prometheus."""
        check_admin(user)
        query_of(request, set())
        rows = await self.totals(self.this_month(), "9999-12-31")
        admission = self._state.admission
        text = as_metrics(rows, in_flight=admission.balances.in_flight(), waiting=admission.waiting)
        return as_text(text, "text/plain; version=0.0.4")

    async def limits(self, request: web.BaseRequest, user: HubUser) -> web.StreamResponse:
        """`GET api/admin/limits`."""
        check_admin(user)
        return as_json(_as_json(self._state.config.limits))

    async def change_limits(self, request: web.BaseRequest, user: HubUser) -> web.StreamResponse:
        """`PUT api/admin/limits`: other limits, of all scopes, in the place of the old ones.

        Checked whole, written into the file whole, and in the ledger's list of changes before they hold.
        """
        check_admin(user)
        body = read_json(await read_body(request, _MOST))
        async with self._writing:
            before = self._state.config.limits
            try:
                book = LimitBook.model_validate(body)
                changed = (
                    self._state.clock(),
                    user.name,
                    json.dumps(_as_json(before)),
                    json.dumps(_as_json(book)),
                )

                def audit(database: LedgerDatabase) -> None:
                    database.execute(
                        "INSERT INTO changes (at, username, before, after) VALUES (?, ?, ?, ?)", changed
                    )

                await asyncio.to_thread(self._state.file.check_limits, book)
                await self._state.ledger.change(audit)
                await asyncio.to_thread(self._state.file.write_limits, book)
                self._state.reload()
            except ValidationError as error:
                raise invalid("; ".join(f"{v.where}: {v.message}" for v in violations_in(error))) from None
            except PoError as error:
                raise invalid(str(error)) from None
            except OSError as error:
                raise GatewayProblem(
                    409, "invalid_request",
                    f"limits.yaml cannot be written here ({type(error).__name__}): change it where it comes from",
                ) from None  # fmt: skip
        log.info("limits were changed", user=user.name)
        return as_json(_as_json(self._state.config.limits))

    def this_month(self) -> str:
        """The first day of the month."""
        return f"{self._state.balances.calendar.period(self._state.clock()).month}-01"

    async def totals(self, since: str, until: str) -> list[TotalRow]:
        """What was used from one day to another."""
        return await self._state.ledger.change(self._state.ledger.totals(since, until))


def _as_json(book: LimitBook) -> object:
    return book.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


def query_of(request: web.BaseRequest, known: set[str]) -> dict[str, str]:
    """The query of a request. Raises GatewayProblem for a name that is not known, or there twice."""
    pairs = parse_qsl(request.raw_path.partition("?")[2], keep_blank_values=True)
    query = dict(pairs)
    if len(query) != len(pairs) or not known.issuperset(query):
        raise invalid(f"the query may have {', '.join(sorted(known)) or 'nothing'}, each once")
    return query
