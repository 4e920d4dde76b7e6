"""The credentials of one run: what its worker may ask the orchestrator for, and nothing of anybody else's.

A worker starts without keys. When a model is first asked, or an MCP server is started, the worker requests the
variables of that provider or server, and gets them if the run names it: in its pipeline (code and `config` too), its
options or its seed. A library that a task imports thus gets at no key but those of the run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Literal

from po_jupyter.config import Settings
from po_jupyter.errors import ModelKeyError, ModelRefused, ToolFailed
from po_jupyter.llm.credentials.team import is_of_team
from po_jupyter.llm.providers.refs import names_file
from po_jupyter.llm.specs import spec_of
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.store.protocol import Store

PROVIDER: Literal["provider_key"] = "provider_key"
MCP_SERVER: Literal["mcp_variables"] = "mcp_variables"


class RunCredentials:
    """Looks up what a run may have. Its methods block (store, files, perhaps the keyring)."""

    def __init__(self, settings: Settings, store: Store, keys: KeyStore) -> None:
        """The keys of `keys`, for runs of `store`."""
        self._settings = settings
        self._store = store
        self._keys = keys

    def provider_key(self, run: str, provider: str) -> dict[str, str]:
        """The variable with the key of a provider; nothing when there is no key. Raises ModelKeyError when the run
        does not name the provider, StoreError."""
        definition = self._store.definition(run)
        spec = spec_of(provider)
        agent = spec is not None and spec.runs_code
        if agent and not (self._settings.cli_agents and definition.get("code_allowed")):
            return {}  # it will not be started
        default = self._settings.default_model.partition(":")[0]
        if provider != default and not is_named(provider, definition):
            if agent:
                return {}  # it may have a login of its own
            raise ModelKeyError(
                f"this run does not name {provider}, so its worker gets no key of it",
                hint=f"Name the model where the pipeline is written, for example in the task's `config` or "
                f'`llm: {{model: "{provider}:..."}}`.',
                details={"provider": provider},
            )
        if not self._settings.hub_behalf:
            return self._keys.key_of(provider, self._settings.worker_env)
        return self._keys_of(run).key_of(provider)

    def _keys_of(self, run: str) -> KeyStore:
        return self._keys.of(self._store.head(run)["owner"]) if self._settings.hub_behalf else self._keys

    def team_prices(self, run: str, provider: str, variables: Mapping[str, str]) -> JsonObject | None:
        """What the gateway of a hub says of the prices of a provider, for a run that asks it with `variables`; None:
        not through the gateway. Raises StoreError."""
        spec, keys = spec_of(provider), self._keys_of(run)
        if spec is None or keys.team is None or not is_of_team(spec, variables, keys.team.url):
            return None
        return keys.team.catalogue().prices_of(provider)

    def check_local_model(self, run: str, model: str) -> None:
        """Raises ModelRefused when a run asks for a file as a local model that whoever submitted it may not name: the
        answer would show whether there is such a file."""
        ref = f"local:{model}"
        if self._settings.hub_behalf:
            raise ModelRefused(f"{ref} is not asked here: shared runs ask the team's models alone")
        if not names_file(ref) or ref == self._settings.default_model:
            return
        if not self._store.definition(run).get("code_allowed"):
            raise ModelRefused(
                f"{ref} is a file where the orchestrator runs, and whoever submitted this run lacks the scope code:run",
                hint="Use a local model by its name.",
            )

    def mcp_variables(self, run: str, server: str) -> dict[str, str]:
        """The variables that the setting `mcp_servers` names for a server. Raises ToolFailed when the run does not
        name it, StoreError."""
        settings = self._settings.mcp_servers.get(server)
        if settings is None or not is_named(server, self._store.definition(run)):
            raise ToolFailed(
                f"this run names no tool of the MCP server {server}, so its worker gets no variables of it",
                hint=f"Name the tool where the pipeline is written: `tools: [{server}.NAME]`.",
                details={"tool": server},
                permanent=True,
            )
        return {name: os.environ[name] for name in settings.env if name in os.environ}


def is_named(name: str, definition: Mapping[str, object]) -> bool:
    """Whether a text of a run's definition has the name of a provider or a server as a word of its own.

    `together:openai/gpt-oss-120b` does not name openai; `ctx.llm.claude_cli` names claude-cli.
    """
    word = re.escape(name).replace(r"\-", "[-_]")
    pattern = re.compile(rf"(?<![\w/-]){word}(?![\w/-])")
    return any(pattern.search(text) for text in _texts(definition))


def _texts(value: object) -> Iterator[str]:
    """Every text in a JSON value, names of fields included."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
