"""`po models`: which models can be used now, what they cost, and why not the others."""

from __future__ import annotations

import os
from typing import Any

import click

from po_jupyter.cli import base
from po_jupyter.errors import Unavailable


@click.command()
@click.argument("word", required=False)
@click.option("--provider", metavar="NAME", help="Only this provider's.")
@click.option("--usable", is_flag=True, help="Only those that can be used now.")
@base.JSON
def models(word: str | None, provider: str | None, usable: bool, as_json: bool) -> int:
    """List the models that can be used now, their prices, and why not the others.

    WORD is a part of a model's name. Prices are US dollars for a million tokens. What counts is the environment
    of the orchestrator; where none is running, this one. Any other model of a provider is used by its name:
    provider:NAME.
    """
    where = ""
    try:
        found = base.connect(start=False).models(word=word, provider=provider)
    except Unavailable:
        from po_jupyter import config
        from po_jupyter.llm.providers.catalogue import list_models

        found = list_models(os.environ, cli_agents=config.load().cli_agents, word=word, provider=provider)
        where = "no orchestrator is running: this is what one started here would see"
    if usable:
        found = [one for one in found if one["usable"]]
    if as_json:
        base.dump(found)
        return 0
    if not found:
        base.say(
            "no model like that is list_models; any model of a provider is used by its name: provider:NAME"
        )
        return 0
    base.table(
        ["model", "in Python", "input", "output", "usable"],
        [
            [
                one["ref"],
                f"ctx.llm.{one['provider'].replace('-', '_')}.{one['alias']}",
                _price(one, "input"),
                _price(one, "output"),
                "yes" if one["usable"] else f"no: {one['why']}",
            ]
            for one in found
        ],
    )
    if where:
        base.say(where, err=True)
    return 0


def _price(one: dict[str, Any], kind: str) -> str:
    price = one.get("price")
    if price is None:
        return "unknown"
    return f"${price[kind]:g}"
