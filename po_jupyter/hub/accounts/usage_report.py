"""Usage for administrators: by user, group or model, as JSON, CSV, JSON lines, and for Prometheus."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, TypedDict, cast, get_args

from po_jupyter.hub.accounts.balances import NANO
from po_jupyter.hub.accounts.ledger import TotalRow
from po_jupyter.hub.problems import invalid

By: TypeAlias = Literal["user", "group", "model"]
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class UsageRow(TypedDict):
    """What one user, group or model used. `lost` calls count in full: nobody knows what became of them."""

    name: str
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    usd: float
    lost: int
    unpriced: int


def checked_by(text: str) -> By:
    """What usage is summed by. Raises GatewayProblem."""
    if text not in get_args(By):
        raise invalid("`by` is user, group or model")
    return cast(By, text)


def checked_day(text: str, name: str) -> str:
    """A day as `2026-11-27`. Raises GatewayProblem."""
    if _DAY.fullmatch(text) is None:
        raise invalid(f"`{name}` is a day as 2026-11-27")
    return text


def summed(rows: Iterable[TotalRow], by: By) -> list[UsageRow]:
    """The usage by user, group or model, the dearest first. A user in two groups counts in both."""
    found: dict[str, UsageRow] = {}
    for row in rows:
        amounts = row.amounts
        for name in row.groups if by == "group" else (row.user if by == "user" else row.model,):
            total = found.setdefault(
                name,
                UsageRow(
                    name=name, calls=0, input_tokens=0, output_tokens=0, cached_tokens=0, reasoning_tokens=0,
                    usd=0, lost=0, unpriced=0,
                ),
            )  # fmt: skip
            total["calls"] += amounts.calls
            total["input_tokens"] += amounts.input
            total["output_tokens"] += amounts.output
            total["cached_tokens"] += amounts.cached
            total["reasoning_tokens"] += amounts.reasoning
            total["usd"] += amounts.nano
            total["lost"] += amounts.lost
            total["unpriced"] += amounts.unpriced
    for total in found.values():
        total["usd"] /= NANO
    return sorted(found.values(), key=lambda total: (-total["usd"], -total["input_tokens"], total["name"]))


def as_csv(rows: Sequence[UsageRow]) -> str:
    """Rows as CSV. A name that a spreadsheet would take for a formula gets an apostrophe before it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(UsageRow.__annotations__))
    writer.writeheader()
    for row in rows:
        name = row["name"]
        writer.writerow({**row, "name": f"'{name}" if name[:1] in "=+-@\t\r" else name})
    return text.getvalue()


def as_lines(rows: Sequence[UsageRow]) -> str:
    """Rows as JSON lines."""
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def as_metrics(rows: Sequence[TotalRow], *, in_flight: int, waiting: int) -> str:
    """This month's usage by user and model, and the calls that run and wait, for Prometheus."""
    counts: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        amounts = row.amounts
        count = counts.setdefault((row.user, row.model), [0, 0, 0, 0, 0])
        each = (amounts.calls, amounts.input, amounts.output, amounts.nano / NANO, amounts.lost)
        for n, value in enumerate(each):
            count[n] += value
    lines = [
        "# TYPE po_gateway_in_flight gauge", f"po_gateway_in_flight {in_flight}",
        "# TYPE po_gateway_waiting gauge", f"po_gateway_waiting {waiting}",
    ]  # fmt: skip
    names = ("calls", "input_tokens", "output_tokens", "usd", "lost_calls")
    for n, name in enumerate(names):
        lines.append(f"# HELP po_gateway_month_{name} Since the month began.")
        lines.append(f"# TYPE po_gateway_month_{name} gauge")
        for (user, model), count in sorted(counts.items()):
            labels = f'user="{_escaped(user)}",model="{_escaped(model)}"'
            lines.append(f"po_gateway_month_{name}{{{labels}}} {count[n]:.12g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
