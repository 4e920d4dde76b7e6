"""`po token`: access to the orchestrator, whole or for some scopes and some time."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from po_jupyter.cli import base

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class _Duration(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """`30d`, `12h`, `90m`, `2w`: seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d{1,6})([mhdw])", str(value).strip())
        if match is None or int(match[1]) == 0:
            self.fail(f"{value!r} is not a time like 30d, 12h, 90m or 2w", param, ctx)
        return float(int(match[1]) * _UNITS[match[2]])


@click.group(invoke_without_command=True)
@base.JSON
@click.pass_context
def token(context: click.Context, as_json: bool) -> int | None:
    """Print the address and the token of the orchestrator, or make tokens that may do less.

    As the variables that point another client at it: export $(po token)
    """
    if context.invoked_subcommand is not None:
        return None
    endpoint = base.connect(start=False).aio.endpoint
    if as_json:
        base.print_json({"url": endpoint.url, "token": endpoint.token})
        return 0
    if sys.stdout.isatty():
        base.print_line("Whoever has this token can run code as you:", err=True)
    _print_variables(endpoint.url, endpoint.token)
    return 0


@token.command("create")
@click.option(
    "--scope", "scopes", metavar="SCOPE", multiple=True, required=True, help="What it may do (repeatable)."
)
@click.option(
    "--expires",
    type=_Duration(),
    default="30d",
    show_default=True,
    metavar="TIME",
    help="How long: 30d, 12h, 90m, 2w.",
)
@click.option("--name", default="", metavar="TEXT", help="What it is for, for the list.")
@base.JSON
def create(scopes: tuple[str, ...], expires: float, name: str, as_json: bool) -> int:
    """Make a token that may do only that, for another machine or a dashboard.

    \b
    po token create --scope runs:read --expires 30d
    po token create --scope runs:read --scope runs:write --name nightly

    Scopes: runs:read, runs:write, gates, admin, code:run. It is shown this once.
    """
    client = base.connect(start=True)
    names = [part.strip() for scope in scopes for part in scope.split(",") if part.strip()]
    text, made = client.create_token(names, expires=expires, name=name)
    if as_json:
        base.print_json({**made, "token": text, "url": client.url})
        return 0
    base.print_line(
        f"token {made['id']} for {', '.join(made['scopes'])} until {made['expires_at']}; it is shown this once. "
        f"To end it: po token revoke {made['id']}",
        err=True,
    )
    if client.aio.endpoint.is_local:
        base.print_line("From another machine, put the address of this one in the place of this URL.", err=True)
    _print_variables(client.url, text)
    return 0


@token.command("list")
@base.JSON
def list_(as_json: bool) -> int:
    """List the tokens that were made, without the tokens themselves."""
    tokens = base.connect(start=False).tokens()
    if as_json:
        base.print_json(tokens)
    elif not tokens:
        base.print_line("no tokens: po token create --scope runs:read")
    else:
        base.print_table(
            ["token", "name", "scopes", "made", "until"],
            [
                [
                    one["id"], one["name"], " ".join(one["scopes"]), one["created_at"],
                    f"{one['expires_at']}{' (expired)' if one['expired'] else ''}",
                ]
                for one in tokens
            ],
        )  # fmt: skip
    return 0


@token.command("revoke")
@click.argument("token_id", metavar="TOKEN")
@base.JSON
def revoke(token_id: str, as_json: bool) -> int:
    """Make a token worth nothing, from its next request on. TOKEN is its id in the list."""
    base.connect(start=False).revoke_token(token_id)
    if as_json:
        base.print_json({"revoked": token_id})
    else:
        base.print_line(f"token {base.plain(token_id)} is revoked")
    return 0


def _print_variables(url: str, text: str) -> None:
    base.print_line(f"PO_JUPYTER_URL={url}")
    base.print_line(f"PO_JUPYTER_TOKEN={text}")
