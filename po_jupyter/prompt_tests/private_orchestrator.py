"""An orchestrator for tests of prompts: in a data directory of its own that is gone with it, and with the vendors where
the tests have them. Nothing of the user's runs, settings or keys is in it; keys only where models are asked.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from po_jupyter import config
from po_jupyter.client import headless
from po_jupyter.client.client import Client
from po_jupyter.config import Price
from po_jupyter.errors import InvalidInput
from po_jupyter.llm.credentials.keys import read_stored_keys, with_stored_keys
from po_jupyter.llm.credentials.team import team_prices
from po_jupyter.llm.money.pricing import LIST_PRICES
from po_jupyter.llm.money.team_prices import TeamPrices
from po_jupyter.llm.specs import Spec, specs
from po_jupyter.model.run.usage import Usage
from po_jupyter.telemetry.redaction import is_secret_name

_DROPPED = ("PO_", "JPY_", "JUPYTER", "OTEL_")
_MILLION = 1_000_000


class PrivateOrchestrator:
    """The orchestrator and its client. `models` are those that the tests name, whose prices it has to know."""

    def __init__(
        self, exchanges_url: str, models: Iterable[str], *, live: bool, environ: Mapping[str, str]
    ) -> None:
        """Starts it. Raises Unavailable."""
        self._folder = Path(tempfile.mkdtemp(prefix="po-test-"))
        try:
            of_user = config.load(environ)
            settings = {
                "prices": prices_of([*models, of_user.default_model], of_user, prices_of_team(of_user)),
                "default_model": of_user.default_model,
            }
            (self._folder / "po.json").write_text(json.dumps(settings), "utf-8")
            variables = private_environment(exchanges_url, self._folder, live=live, environ=environ)
            self._process = headless.start(config.load(variables), variables)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.client = Client(self._process.endpoint)

    def close(self) -> None:
        """Stop it, and remove its directory."""
        self.client.close()
        try:
            headless.stop(self._process)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def recordable(spec: Spec) -> bool:
    """Whether a provider's answers can be recorded: it is asked over HTTP at an address that can be another."""
    return bool(spec.base_env)


def check_models(models: Iterable[str]) -> None:
    """Refuse models whose answers cannot be recorded; what runs on this machine needs none. Raises InvalidInput."""
    for ref in sorted(set(models)):
        name = ref.partition(":")[0]
        spec = specs().get(name)
        if spec is not None and not recordable(spec) and not spec.free:
            raise InvalidInput(
                f"answers of {name} cannot be recorded, so po test does not use {ref!r:.100}",
                hint="Name another model for the tests: `model:` at the top of the file, or in a case.",
            )


def vendors(environ: Mapping[str, str]) -> dict[str, str]:
    """The base URLs of the providers whose answers can be recorded, as the user has them."""
    return {spec.name: spec.base_url_in(environ) for spec in specs().values() if recordable(spec)}


def user_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The user's variables with the keys that are stored for `po`."""
    return with_stored_keys(environ, read_stored_keys(config.load(environ).data_dir))


def private_environment(
    exchanges_url: str, folder: Path, *, live: bool, environ: Mapping[str, str]
) -> dict[str, str]:
    """The variables of the orchestrator of tests. Without `live` no key of the user's is among them."""
    variables = {
        name: value
        for name, value in environ.items()
        if not name.startswith(_DROPPED) and (live or not is_secret_name(name))
    }
    variables["PO_DATA_DIR"] = str(folder)
    variables["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    for name in ("NO_PROXY", "no_proxy"):
        variables[name] = ",".join(filter(None, [variables.get(name, ""), "127.0.0.1"]))
    for spec in specs().values():
        if recordable(spec):
            variables[spec.base_env] = f"{exchanges_url}/{spec.name}"
            if spec.key_env and not live:
                variables[spec.key_env] = "no-key-is-needed"
    return variables


def prices_of_team(settings: config.Settings) -> TeamPrices:
    """What the gateway of the user's hub says of prices, or said last; nothing without one. Blocks for seconds."""
    if settings.hub_url is None:
        return TeamPrices()
    from po_jupyter.orchestrator.environment.key_store import KeyStore

    keys = KeyStore(settings.data_dir, settings.hub_url)
    environ, _ = keys.environment(settings.worker_env)
    return team_prices(keys.catalogue(), environ, settings.hub_url)


def prices_of(
    models: Iterable[str], settings: config.Settings, team: TeamPrices
) -> dict[str, dict[str, float]]:
    """The prices of models as a settings file has them: those of the team on a hub, the user's own, and those of the
    list, which does not hold at another address."""
    prices: dict[str, dict[str, float]] = {}
    for ref in sorted(set(models)):
        of_team = team.find(ref)
        price = (
            of_team if isinstance(of_team, Price) else settings.prices.get(ref) if of_team != "list" else None
        )
        if price is not None:
            prices[ref] = price.model_dump(exclude_none=True)
            continue
        if of_team == "unknown":
            continue
        kinds = {
            "input": Usage(input_tokens=_MILLION),
            "output": Usage(output_tokens=_MILLION),
            "cached": Usage(input_tokens=_MILLION, cached_tokens=_MILLION),
            "cache_write": Usage(input_tokens=_MILLION, cache_write_tokens=_MILLION),
        }
        costs = {kind: LIST_PRICES.cost_of(usage, ref) for kind, usage in kinds.items()}
        if costs["input"] is not None and costs["output"] is not None:
            prices[ref] = {kind: round(cost, 9) for kind, cost in costs.items() if cost is not None}
    return prices
