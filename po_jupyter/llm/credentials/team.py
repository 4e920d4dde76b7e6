"""A team's models: which providers are asked through the gateway of a hub, and with which key.

A vendor is asked through the gateway, with the user's token of the hub in the place of a key. A key of the user's own
wins over that for its provider, if the hub's admin allows own keys. Models on the user's machine (`local:`, `ollama:`)
stay there, unless the team has models of that provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypedDict

from po_jupyter.llm.credentials.keys import KeyState, mask
from po_jupyter.llm.money.gateway_prices import amount, entries_in, prices_in
from po_jupyter.llm.money.team_prices import PENDING, TeamPrice, TeamPrices, answer_of
from po_jupyter.llm.specs import Spec, spec_of, specs
from po_jupyter.model.values.json import JsonObject

HUB = Spec("hub", "", key_env="PO_HUB_TOKEN", base_env="PO_HUB_URL")
"""The hub, as far as it takes a key: a token of the user's, for use outside of the hub's servers."""
GATEWAY_BATCHES = ("openai", "anthropic", "gemini", "mistral")
"""The providers whose batches a gateway takes."""
_SHOWN = 20


class TeamModelJson(TypedDict):
    """A model as the gateway lists it; prices in US dollars for a million tokens, None when unknown."""

    model: str
    input_per_million: float | None
    output_per_million: float | None


@dataclass(frozen=True, slots=True)
class TeamCatalogue:
    """The models that a user may ask through the gateway, and whether keys of their own count beside it.

    `prices` are by model. `problem` says why nothing newer is known, "" mostly; `is_known` is false while the gateway
    has not answered since the start: `prices` are those of before it then.
    """

    models: tuple[TeamModelJson, ...] = ()
    own_keys: bool = False
    is_known: bool = False
    problem: str = ""
    prices: Mapping[str, TeamPrice] = field(default_factory=dict)

    @property
    def refs(self) -> tuple[str, ...]:
        """The models by ref."""
        return tuple(model["model"] for model in self.models)

    @property
    def providers(self) -> frozenset[str]:
        """Those that the team has a model of."""
        return frozenset(ref.partition(":")[0] for ref in self.refs)

    def listed(self) -> str:
        """The models, for people."""
        more = len(self.refs) - _SHOWN
        return ", ".join(self.refs[:_SHOWN]) + (f" and {more} more" if more > 0 else "") or "none"

    @classmethod
    def from_json(cls, value: object) -> TeamCatalogue:
        """That of an answer. Raises ValueError."""
        entries = entries_in(value)
        own_keys = isinstance(value, Mapping) and bool(value.get("own_keys"))
        return cls(tuple(map(_model, entries)), own_keys, is_known=True, prices=prices_in(entries))

    def prices_of(self, provider: str) -> JsonObject:
        """What the gateway says of the prices of a provider that is asked through it, for `TeamPrices`."""
        prices = {ref: price for ref, price in self.prices.items() if ref.startswith(f"{provider}:")}
        if self.is_known:
            return answer_of(prices)
        return {**answer_of(prices), "kept": True} if prices else dict(PENDING)


def _model(entry: Mapping[str, object]) -> TeamModelJson:
    return {
        "model": str(entry["model"])[:300],
        "input_per_million": amount(entry, "input_per_million"),
        "output_per_million": amount(entry, "output_per_million"),
    }


def team_prices(catalogue: TeamCatalogue | None, environ: Mapping[str, str], hub_url: str | None) -> TeamPrices:
    """The prices of all providers that are asked through the gateway, in an environment of `with_team`."""
    return TeamPrices(prices_by_provider(catalogue, environ, hub_url))


def prices_by_provider(
    catalogue: TeamCatalogue | None, environ: Mapping[str, str], hub_url: str | None
) -> dict[str, JsonObject]:
    """What `team_prices` is made of, by provider: JSON."""
    if catalogue is None:
        return {}
    return {
        name: catalogue.prices_of(name) for name, spec in specs().items() if is_of_team(spec, environ, hub_url)
    }


def is_of_team(spec: Spec, environ: Mapping[str, str], hub_url: str | None) -> bool:
    """Whether a provider is asked through the gateway, in an environment of `with_team`."""
    return hub_url is not None and bool(spec.base_env) and spec.base_url_in(environ) == spec.team_url(hub_url)


def with_team(environ: Mapping[str, str], hub_url: str, token: str, catalogue: TeamCatalogue) -> dict[str, str]:
    """`environ` with the addresses of the gateway, and the user's token in the place of keys; see the module."""
    complete = dict(environ)
    for name in specs():
        spec = spec_of(name)
        if spec is None or not goes_through(spec, environ, catalogue):
            continue
        complete[spec.base_env] = spec.team_url(hub_url)
        complete.pop(spec.key_env, None)
        if token:
            complete[spec.key_env] = token
    return complete


def goes_through(spec: Spec, environ: Mapping[str, str], catalogue: TeamCatalogue) -> bool:
    """Whether a provider is asked through the gateway. `environ` has the user's own keys."""
    if not (spec.is_vendor or (spec.base_env and spec.key_env and spec.name in catalogue.providers)):
        return False
    return not (catalogue.own_keys and spec.key_in(environ))


def team_state(state: KeyState, spec: Spec, hub_url: str, token: str) -> KeyState:
    """The state of a key of a provider that is asked through the gateway."""
    note = "your own key is not used: the hub's admin allows none" if state.source is not None else ""
    return replace(
        state,
        base_url=spec.team_url(hub_url),
        source="hub" if token else None,
        masked=mask(token) if token else "",
        note=note or ("" if token else WITHOUT_LOGIN),
    )


WITHOUT_LOGIN = "it is asked with your token of the hub, and there is none here: po keys set hub"
