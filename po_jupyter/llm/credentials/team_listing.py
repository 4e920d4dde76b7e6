"""The list of models where a hub has a team's: its gateway says which, and their prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from po_jupyter.llm.credentials.team import TeamCatalogue, TeamModelJson, is_of_team
from po_jupyter.llm.money.pricing import LIST_PRICES, TokenPrices
from po_jupyter.llm.providers.catalogue import ModelListing, alias_of
from po_jupyter.llm.specs import spec_of


def team_listing(
    listed: list[ModelListing], environ: Mapping[str, str], hub_url: str, team: TeamCatalogue
) -> list[ModelListing]:
    """The models of a list, and those of the team that are not in it; usable ones first. `environ` is that of
    `with_team`."""
    models = {model["model"]: model for model in team.models}
    known = {model.ref for model in listed}
    missing = [_listing(ref) for ref in models if ref not in known]
    adapted = [_adapted(model, environ, hub_url, team, models.get(model.ref)) for model in [*missing, *listed]]
    return sorted(adapted, key=lambda model: not model.usable)


def _listing(ref: str) -> ModelListing:
    provider, _, model = ref.partition(":")
    return ModelListing(ref, provider, model, alias_of(model), True, "", None, "the gateway knows none")


def _adapted(
    listing: ModelListing,
    environ: Mapping[str, str],
    hub_url: str,
    team: TeamCatalogue,
    model: TeamModelJson | None,
) -> ModelListing:
    spec = spec_of(listing.provider)
    if spec is None or not is_of_team(spec, environ, hub_url):
        return listing
    if model is None:
        why = "it is not among your team's models on the hub" if team.is_known else team.problem
        return replace(listing, usable=False, why=why)
    listing = replace(
        listing, usable=bool(spec.key_in(environ)), why="" if spec.key_in(environ) else team.problem
    )
    prices = model["input_per_million"], model["output_per_million"]
    if prices[0] is None or prices[1] is None:
        return listing
    price: TokenPrices = {"input": prices[0], "output": prices[1]}
    of_list = LIST_PRICES.per_million(listing.ref)
    return replace(listing, price=price, price_note="", list_price=of_list if of_list != price else None)
