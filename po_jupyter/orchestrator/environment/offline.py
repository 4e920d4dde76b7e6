"""The environment of an orchestrator that does not run: what one started here would see, as JSON on standard output.

    python -m po_jupyter.orchestrator.environment.offline providers
    python -m po_jupyter.orchestrator.environment.offline models [--word WORD] [--provider NAME]

The terminal runs it (`po models`, `po keys`), as it runs `orchestrator.doctor`, so that it needs no provider itself.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from po_jupyter import config
from po_jupyter.errors import PoError
from po_jupyter.llm.providers.catalogue import list_models
from po_jupyter.llm.specs import specs
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.environment.service import listed_models


def providers() -> list[str]:
    """The names of the providers that take a key, and of plugins, which may."""
    return sorted(name for name, spec in specs().items() if spec.key_env or not spec.base_url)


def models(settings: config.Settings, word: str | None, provider: str | None) -> list[JsonObject]:
    """The models by name. Raises InvalidInput."""
    if settings.hub_url is None:
        return list_models(os.environ, cli_agents=settings.cli_agents, word=word, provider=provider)
    keys = KeyStore(settings.data_dir, settings.hub_url)
    return listed_models(
        keys, settings.prices, settings.worker_env, cli_agents=settings.cli_agents, word=word, provider=provider
    )


def main(argv: list[str] | None = None) -> int:
    """Print `{"providers": [...]}` or `{"models": [...]}`, or `{"error": ...}` as HTTP has it."""
    parser = argparse.ArgumentParser(prog="python -m po_jupyter.orchestrator.environment.offline")
    parser.add_argument("subject", choices=["providers", "models"])
    parser.add_argument("--word")
    parser.add_argument("--provider")
    options = parser.parse_args(argv)
    try:
        if options.subject == "providers":
            answer: dict[str, object] = {"providers": providers()}
        else:
            answer = {"models": models(config.load(), options.word, options.provider)}
    except PoError as error:
        answer = {"error": error.to_json()}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
