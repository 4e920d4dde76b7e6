"""The prices of a team as the gateway of a hub said them last, kept over restarts of the orchestrator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import structlog

from po_jupyter.errors import StoreUnusable
from po_jupyter.llm.money.team_prices import TeamPrice, answer_of, models_in
from po_jupyter.model.values.digests import short_digest
from po_jupyter.store.files.tree import write_atomic

log = structlog.get_logger(__name__)
FOLDER = "team-prices"


class KeptPrices:
    """The file of one owner's prices at one gateway. Its methods block for a moment and raise nothing: what cannot be
    kept is asked for again."""

    def __init__(self, data_dir: Path, owner: str | None, url: str) -> None:
        """`owner` is None for the one of this server."""
        self._path = data_dir / FOLDER / f"{'own' if owner is None else short_digest(owner)}.json"
        self._url = url
        self._written: Mapping[str, TeamPrice] | None = None

    def read(self) -> dict[str, TeamPrice]:
        """The prices by model; {} where none are kept of this gateway."""
        try:
            kept = json.loads(self._path.read_bytes())
            return models_in(kept) if isinstance(kept, dict) and kept.get("url") == self._url else {}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            log.warning("the team's last prices cannot be read", error=type(error).__name__)
            return {}

    def write(self, prices: Mapping[str, TeamPrice]) -> None:
        """Keep prices, if they are others than before."""
        if prices == self._written:
            return
        text = json.dumps({"url": self._url, **answer_of(prices)}, sort_keys=True)
        try:
            write_atomic(self._path, text.encode())
            self._written = dict(prices)
        except StoreUnusable as error:
            log.warning("the team's prices cannot be kept", error=error.message)
