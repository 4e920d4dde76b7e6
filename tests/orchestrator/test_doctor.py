"""The doctor: one finding for everything that a run needs, with what to do about it, and no key in it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import SpawnFailed
from po_jupyter.llm.credentials import keys
from po_jupyter.llm.specs import specs
from po_jupyter.orchestrator import doctor
from po_jupyter.orchestrator.doctor import Doctor, DoctorFinding
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.platform import private_dir
from po_jupyter.platform.private_dir import Mount
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.stored_runs import store_run

KEY = "sk-Zq7TtTb3vRkW9xYp2LmN8cJh5sDf"


class Zygotes:
    """A pool whose zygote is at hand, or cannot be started."""

    error: Exception | None = None

    async def get(self, interpreter: str | None) -> Any:
        if self.error is not None:
            raise self.error
        return SimpleNamespace(hello=SimpleNamespace(python="3.11.7"))


class Desk:
    """A doctor of an orchestrator that runs here."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.store = MemoryStore()
        self.zygotes = Zygotes()
        self.has_workers = True

    async def findings(self, *, online: bool = False, **settings: Any) -> dict[str, DoctorFinding]:
        config = Settings(data_dir=self.tmp / "data", **{"default_model": "fake:echo", **settings})
        zygotes: Any = self.zygotes
        examined = Doctor(
            config, KeyStore(config.data_dir), zygotes, self.store, asyncio.to_thread,
            has_workers=lambda: self.has_workers,
        )  # fmt: skip
        return {finding["what"]: finding for finding in await examined.examine(online=online)}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    for spec in specs().values():
        for variable in (getattr(spec, "key_env", ""), getattr(spec, "base_env", "")):
            if variable:
                monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(keys, "keyring_backend", lambda: None)
    return Desk(tmp_path)


async def test_everything_that_a_run_needs_is_looked_at(desk: Desk) -> None:
    store_run(desk.store)
    found = await desk.findings()
    assert found.keys() >= {
        "versions",
        "data directory",
        "store",
        "workers",
        "keys",
        "prices",
        "rate limits",
        *specs(),
    }
    machine = ("versions", "data directory", "store", "workers", "keys", "prices", "rate limits")
    assert {found[what]["verdict"] for what in machine} == {"ok"}
    assert "1 run," in found["store"]["found"]
    assert "GB free" in found["data directory"]["found"]
    assert found["workers"]["found"].startswith("Python 3.11.7")


async def test_a_check_that_breaks_is_a_finding_and_the_others_still_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P11: a doctor who falls ill himself is of no use."""
    desk.zygotes.error = SpawnFailed("no workers here", hint="Look into its log.")
    monkeypatch.setattr(desk.store, "runs", lambda **_: 1 / 0)
    found = await desk.findings()
    assert (found["workers"]["verdict"], found["workers"]["found"]) == ("bad", "no workers here")
    assert found["workers"]["todo"] == "Look into its log."
    assert (found["store"]["verdict"], found["store"]["found"]) == (
        "bad",
        "this check failed: ZeroDivisionError",
    )
    assert found["prices"]["verdict"] == "ok"


async def test_a_disk_that_is_nearly_full_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1024**3 - 1))
    found = (await desk.findings())["data directory"]
    assert found["verdict"] == "bad"
    assert "PO_DATA_DIR" in found["todo"]


async def test_the_file_system_is_that_of_the_nearest_mount(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = [
        Mount("/", "ext4"), Mount(str(desk.tmp), "xfs"), Mount(f"{desk.tmp}/datax", "zfs"),
        Mount("/a/path/that/is/longer/than/any/of/the/others/and/somewhere/else/altogether/in/the/tree", "btrfs"),
    ]  # fmt: skip
    monkeypatch.setattr(private_dir, "mounts", lambda: mounts)
    assert ", xfs, " in (await desk.findings())["data directory"]["found"]
    mounts.clear()
    assert "an unknown file system" in (await desk.findings())["data directory"]["found"]


async def test_the_key_of_a_provider_is_named_masked_and_where_it_is_from(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R2.5, P10."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    found = await desk.findings()
    assert found["openai"]["verdict"] == "ok"
    assert "key sk-…5sDf from the environment" in found["openai"]["found"]
    assert KEY not in str(found)


async def test_a_missing_key_is_bad_where_runs_would_use_it_and_a_note_elsewhere(desk: Desk) -> None:
    """R2.5: with the very command to type."""
    found = await desk.findings(default_model="openai:gpt-5-mini")
    openai, anthropic = found["openai"], found["anthropic"]
    assert (openai["verdict"], openai["todo"]) == ("bad", "po keys set openai")
    assert (anthropic["verdict"], anthropic["todo"]) == ("note", "")
    assert "ANTHROPIC_API_KEY" in anthropic["found"]


async def test_a_provider_whose_address_is_not_known_yet_shows_none(desk: Desk) -> None:
    """`://` stood there."""
    found = await desk.findings()
    for name in ("azure", "bedrock", "vertex"):
        assert found[name]["found"].startswith(f"{name} needs a key"), found[name]["found"]


async def test_a_base_url_that_is_none_is_bad_although_nobody_asked_for_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_BASE_URL", "nonsense")
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    found = (await desk.findings())["gemini"]
    assert found["verdict"] == "bad"
    assert "Set GEMINI_BASE_URL right" in found["todo"]


async def test_a_server_of_ones_own_that_nobody_set_up_is_missed_by_nobody(desk: Desk) -> None:
    optional = [
        name for name, spec in specs().items() if getattr(spec, "key_optional", False) and spec.base_env
    ]
    found = await desk.findings()
    assert optional
    assert {found[name]["verdict"] for name in optional} == {"note"}


async def test_providers_are_asked_only_when_told_to(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    asked: list[str] = []

    async def probe(spec: Any, environ: Any) -> tuple[bool, str]:
        asked.append(spec.name)
        return False, "it refuses the key (401)"

    monkeypatch.setattr(doctor, "probe", probe)
    await desk.findings()
    assert asked == []
    found = (await desk.findings(online=True))["openai"]
    assert "openai" in asked
    assert "anthropic" not in asked, "there is no key to ask with"
    assert (found["verdict"], found["todo"]) == ("bad", "po keys set openai")


async def test_settings_that_cannot_do_what_they_say_are_told(desk: Desk) -> None:
    """P5: a limit in dollars on a model without a price limits nothing."""
    found = await desk.findings(default_model="openai:nobody-knows", daily_usd=5)
    assert found["prices"]["verdict"] == "bad"
    assert "nobody-knows" in found["prices"]["found"]
    assert "daily_tokens" in found["prices"]["todo"]
    found = await desk.findings(prices={"opnai:gpt-5": {"input": 1, "output": 2}})
    assert found["prices"]["verdict"] == "note"
    assert "opnai" in found["prices"]["found"]
    found = await desk.findings(rate_limits={"opnai": {"requests": 5}})
    assert found["rate limits"]["verdict"] == "bad"
    assert "opnai" in found["rate limits"]["found"]


async def test_a_server_without_the_workers_says_whose_environment_counts(desk: Desk) -> None:
    desk.has_workers = False
    found = await desk.findings()
    assert next(iter(found)) == "workers of another"
    assert found["workers of another"]["verdict"] == "note"
    assert "of this data directory" in found["workers of another"]["found"]
    found = await desk.findings(store="postgresql://po@db.example/po")
    assert "this node works no runs off: `po workers`" in found["workers of another"]["found"]


async def test_without_an_orchestrator_a_store_that_is_not_there_yet_is_a_note(
    desk: Desk, tmp_path: Path
) -> None:
    zygotes: Any = desk.zygotes
    settings = Settings(data_dir=tmp_path)
    findings = await doctor.examine(settings, KeyStore(tmp_path), zygotes, None, asyncio.to_thread)
    found = {finding["what"]: finding for finding in findings}
    assert (found["store"]["verdict"], found["store"]["found"]) == (
        "note",
        "none yet: the first start makes it",
    )
    assert not (tmp_path / "store").exists(), "looking makes none"
