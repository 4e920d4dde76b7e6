"""`po models`: the models that can be used now, their prices, and reasons against the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from po_jupyter.cli import base
from po_jupyter.errors import Unavailable

if TYPE_CHECKING:
    from po_jupyter.client.http.payloads import ModelJson


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
    note = ""
    try:
        listed = base.connect(start=False).models(word=word, provider=provider)
    except Unavailable:
        from po_jupyter.cli.programs import offline_models

        listed = offline_models(word, provider)
        note = "no orchestrator is running: this is what one started here would see"
    if usable:
        listed = [model for model in listed if model["usable"]]
    if as_json:
        base.print_json(listed)
        return 0
    if not listed:
        base.print_line(
            "no model like that is listed; any model of a provider is used by its name: provider:NAME"
        )
        return 0
    base.print_table(
        ["model", "in Python", "input", "output", "usable"],
        [
            [
                model["ref"],
                f"ctx.llm.{model['provider'].replace('-', '_')}.{model['alias']}",
                _price(model, "input"),
                _price(model, "output"),
                "yes" if model["usable"] else f"no: {model['why']}",
            ]
            for model in listed
        ],
    )
    unpriced: dict[str, dict[str, None]] = {}
    for model in listed:
        if model["price"] is None:
            unpriced.setdefault(model.get("price_note") or "no price list has it", {})[model["provider"]] = None
    for reason, providers in unpriced.items():
        base.print_line(f"no price of {', '.join(providers)}: {reason}", err=True)
    if note:
        base.print_line(note, err=True)
    return 0


def _price(model: ModelJson, kind: Literal["input", "output"]) -> str:
    price = model["price"]
    if price is None:
        return "unknown"
    of_list = model.get("list_price")
    beside = f" (list ${of_list[kind]:g})" if of_list is not None and of_list[kind] != price[kind] else ""
    return f"${price[kind]:g}{beside}"
