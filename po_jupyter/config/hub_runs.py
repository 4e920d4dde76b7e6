"""Where the hub's service of shared runs is, by the settings."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from po_jupyter.config.settings import Settings
from po_jupyter.errors import InvalidInput, Unavailable

TOKENS = ("JUPYTERHUB_API_TOKEN", "PO_HUB_TOKEN")
"""The variables that may have the user's token of the hub, the first one that has goes."""


def shared_runs_url(settings: Settings) -> str:
    """The address of the service. Raises Unavailable when none is known, InvalidInput."""
    url = settings.hub_runs_url
    if url is None and settings.hub_url is not None:
        url = f"{settings.hub_url.rpartition('/')[0]}/po-runs"
    if url is None:
        raise Unavailable(
            "no service of shared runs is known here",
            hint="It is found by PO_HUB_URL, or PO_HUB_RUNS_URL, which the hub's admin sets.",
        )
    if settings.hub_url is not None and urlsplit(url)[:2] != urlsplit(settings.hub_url)[:2]:
        raise InvalidInput(
            "hub_runs_url and hub_url are of two hubs, and a token is for one of them",
            hint="Unset PO_HUB_RUNS_URL: then the one beside PO_HUB_URL is used.",
        )
    return url


def environment_token(url: str, environ: Mapping[str, str]) -> str:
    """The token of the environment for the service at `url`; "" when there is none, or the address is not one of the
    environment's: a project's file may name any, and a project be anybody's."""
    named = (environ.get(name, "").strip() for name in ("PO_HUB_URL", "PO_HUB_RUNS_URL"))
    if urlsplit(url)[:2] not in {urlsplit(address)[:2] for address in named if address}:
        return ""
    return next((token for name in TOKENS if (token := environ.get(name, "").strip())), "")
