"""The state of a gateway over its starts: what the ledger had is held against the limits again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from po_jupyter.hub.config import GatewayConfig
from po_jupyter.hub.limits_file import checked
from po_jupyter.hub.state import ledger_place
from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.hub import running

BASE: dict[str, object] = {"providers": {"openai": {}}, "models": ["openai:m"]}


def config(**fields: object) -> GatewayConfig:
    return checked({**BASE, **fields}, "x")


def test_the_ledgers_place(tmp_path: Path) -> None:
    file = tmp_path / "limits.yaml"
    assert ledger_place(config(), file, {}) == str(tmp_path / "ledger.sqlite")
    assert ledger_place(config(ledger="/var/lib/po/x.sqlite"), file, {}) == "/var/lib/po/x.sqlite"
    assert ledger_place(config(ledger="postgresql://db/po"), file, {}) == "postgresql://db/po"
    assert ledger_place(config(ledger_env="L"), file, {"L": "postgres://db/po"}) == "postgres://db/po"


@pytest.mark.integration
async def test_a_new_start_holds_the_month_against_the_limits(tmp_path: Path) -> None:
    now = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
    limits = {"each_user": {"usd_per_month": 0.02, "usd_per_day": 0.02}}
    reply = Reply(usage={"prompt_tokens": 0, "completion_tokens": 1900})
    with ModelServer(reply) as vendor:
        for day, expected in ((0, 200), (0, 429), (1, 429), (2, 200)):  # the third day is in December
            at = now + day * 86_400
            async with running(tmp_path, vendor.root_url, limits=limits, clock=lambda at=at: at) as gateway:  # type: ignore[misc]
                status, _ = await gateway.chat(max_tokens=100)
                assert status == expected
