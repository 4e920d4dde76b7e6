"""The state of a gateway over its starts: what the ledger had is held against the limits again."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from po_jupyter.hub.config import GatewayConfig
from po_jupyter.hub.limits_file import LimitsFile, checked
from po_jupyter.hub.state import GatewayState, ledger_place
from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.hub import KEY, running, write_config

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


def a_state(tmp_path: Path, more: str) -> GatewayState:
    path = write_config(tmp_path, "http://127.0.0.1:1", more=more)
    return GatewayState(LimitsFile(path), environ={"TEAM_KEY": KEY})


def test_a_changed_time_zone_holds_without_a_restart(tmp_path: Path) -> None:
    state = a_state(tmp_path, 'time_zone: "UTC"')
    evening = datetime(2026, 11, 29, 23, tzinfo=UTC).timestamp()
    assert state.balances.calendar.period(evening).day == "2026-11-29"
    write_config(tmp_path, "http://127.0.0.1:1", more='time_zone: "Europe/Berlin"')
    state.reload()
    assert state.balances.calendar.period(evening).day == "2026-11-30"


def test_a_key_file_that_changes_is_seen_as_the_configuration_is(tmp_path: Path) -> None:
    key = tmp_path / "some.key"
    key.write_text("sk-old\n")
    path = write_config(tmp_path, "http://127.0.0.1:1")
    path.write_text(path.read_text().replace("providers:", "providers:\n  groq: {key_file: some.key}"))
    state = GatewayState(LimitsFile(path), environ={"TEAM_KEY": KEY})
    assert state.upstreams["groq"].key == "sk-old" and not state.file.has_changed()
    key.write_text("sk-new-key\n")
    os.utime(key, ns=(1, 1))
    assert state.file.has_changed() and not state.file.has_changed()
    state.reload()
    assert state.upstreams["groq"].key == "sk-new-key" and not state.file.has_changed()


@pytest.mark.integration
async def test_a_changed_timeout_holds_without_a_restart(tmp_path: Path) -> None:
    with ModelServer(latency=6) as vendor:
        async with running(tmp_path, vendor.root_url, more="timeout: 600") as gateway:
            write_config(tmp_path, vendor.root_url, more="timeout: 1")
            gateway.state.reload()
            async with asyncio.timeout(10):
                status, answer = await gateway.chat()
            assert (status, answer["error"]["code"]) == (503, "answer_lost")
