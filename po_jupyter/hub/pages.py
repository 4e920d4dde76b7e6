"""The page of the gateway: who used what, for users their own. HTML without scripts, made here."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape

from po_jupyter.hub.accounts.balances import UsageWindow
from po_jupyter.hub.accounts.usage_report import UsageRow
from po_jupyter.hub.identity import HubUser

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b;
  background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } caption { text-align: left; color: #555 }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
@media (prefers-color-scheme: dark) { body { background: #111; color: #eee } th, td { border-color: #444 }
  caption { color: #aaa } a { color: #8ab4f8 } }
"""
STYLE_DIGEST = base64.b64encode(sha256(_STYLE.encode()).digest()).decode()


def usage_page(
    user: HubUser, windows: Sequence[UsageWindow], tables: Sequence[tuple[str, Sequence[UsageRow]]]
) -> str:
    """The page of a user; `tables` are an administrator's: what usage is summed by, and its rows."""
    parts = [f"<h1>Models of the team</h1><p>You are <strong>{escape(user.name)}</strong>"]
    parts.append(f", in {escape(', '.join(user.groups))}" if user.groups else "")
    parts.append(".</p><h2>Your limits</h2>")
    parts.append(
        _table(
            "Only what has a limit, or was used.",
            ("of", "window", "used", "reserved", "limit", "begins anew"),
            (
                (
                    _of(row["scope"]),
                    row["window"],
                    *_values(row),
                    row["resets_at"].replace("T", " ").replace("Z", " UTC"),
                )
                for row in windows
                if row["limit"] is not None or (row["used"] and row["unit"] == "usd")
            ),
        )
    )
    for by, rows in tables:
        parts.append(f"<h2>This month, by {escape(by)}</h2>")
        parts.append(
            _table(
                "Lost calls count in full: nobody knows what became of them.",
                (by, "calls", "tokens in", "tokens out", "cost", "lost"),
                (
                    (row["name"], f"{row['calls']:,}", f"{row['input_tokens']:,}", f"{row['output_tokens']:,}",
                     f"${row['usd']:,.4f}", f"{row['lost']:,}")
                    for row in rows
                ),
            )
        )  # fmt: skip
        links = (f'<a href="api/admin/usage?by={by}&amp;format={kind}">{kind}</a>' for kind in ("csv", "jsonl"))
        parts.append(f"<p>As a file: {', '.join(links)}</p>")
    return _page("".join(parts))


def problem_page(message: str) -> str:
    """A page that says what is wrong."""
    return _page(f"<h1>Models of the team</h1><p>{escape(message)}</p>")


def _page(body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Models of the team</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><main>{body}</main></body></html>"
    )


def _of(scope: str) -> str:
    kind, _, name = scope.partition(":")
    return f"group {name}" if kind == "group" else "everybody" if kind == "all" else "you"


def _values(row: UsageWindow) -> tuple[str, str, str]:
    def shown(value: float | None) -> str:
        if value is None:
            return "–"
        return f"${value:,.4f}" if row["unit"] == "usd" else f"{value:,.0f} {row['unit']}"

    return shown(row["used"]), shown(row["reserved"]), shown(row["limit"])


def _table(caption: str, names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col"{_number(n)}>{escape(name)}</th>' for n, name in enumerate(names))
    lines = "".join(
        f"<tr>{''.join(f'<td{_number(n)}>{escape(cell)}</td>' for n, cell in enumerate(row))}</tr>"
        for row in rows
    )
    empty = f'<tr><td colspan="{len(names)}">nothing yet</td></tr>'
    head = f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
    return f"<table>{head}<tbody>{lines or empty}</tbody></table>"


def _number(column: int) -> str:
    return ' class="number"' if column else ""
