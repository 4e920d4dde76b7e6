"""`po worker` before it is a node: what it refuses, and what it says while its store does not answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings, load
from po_jupyter.distributed import program
from po_jupyter.distributed.node import NodeDistribution, node_settings
from po_jupyter.errors import InvalidSettings, StoreUnusable

URL = "postgresql://nobody@127.0.0.1:1/none"


class Away:
    """The class of stores of a server that does not answer `failures` times."""

    def __init__(self, failures: int, **details: Any) -> None:
        self.failures = failures
        self.details = details
        self.asked = 0

    def look(self, url: str, *, patience: float) -> None:
        self.asked += 1
        if self.asked <= self.failures:
            raise StoreUnusable("the store postgresql://127.0.0.1:1/none cannot be used", details=self.details)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_AGAIN", 0.001)
    monkeypatch.setattr(program, "_START_PATIENCE", 0.1)


def test_one_line_says_that_the_store_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    store = Away(3)
    monkeypatch.setattr(program, "postgres_store", lambda: store)
    program._wait_for_store(URL, lines.append)
    assert store.asked == 4
    assert lines == ["the store postgresql://127.0.0.1:1/none cannot be used; trying for 0.1 s"]


def test_the_wait_for_the_store_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(program, "postgres_store", lambda: Away(10**9))
    with pytest.raises(StoreUnusable):
        program._wait_for_store(URL, lines.append)
    assert len(lines) == 1


def test_a_store_of_a_newer_version_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Away(10**9, format=99)
    monkeypatch.setattr(program, "postgres_store", lambda: store)
    with pytest.raises(StoreUnusable):
        program._wait_for_store(URL, lambda text: None)
    assert store.asked == 1


@pytest.mark.parametrize("broker", ["kafka://127.0.0.1", "redis://", "no url"])
def test_a_broker_of_no_kind_is_refused_before_the_store_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: str
) -> None:
    store = Away(10**9)
    monkeypatch.setattr(program, "postgres_store", lambda: store)
    settings = Settings(data_dir=tmp_path, store=URL, broker=broker)  # type: ignore[arg-type]
    with pytest.raises(InvalidSettings, match="broker"):
        program.serve(settings, lambda settings: None, lambda text: None)
    assert store.asked == 0


def test_a_data_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidSettings, match=r"data directory .* cannot be used"):
        program.serve(Settings(data_dir=tmp_path / "file", store=URL), lambda settings: None, lambda text: None)  # type: ignore[arg-type]


def test_an_option_that_is_none_is_named_as_it_was_written() -> None:
    with pytest.raises(InvalidSettings) as refused:
        load({}, options={"store": ("--store", "mysql://x"), "node_labels": ("--label", ["a b"])})
    places = {violation.where for violation in refused.value.violations}
    assert places == {"--store", "--label"}


async def test_a_store_that_stands_still_keeps_no_node_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After SIGTERM it waited as long as the database stood still."""

    class Standing:
        def __init__(self, settings: Settings, distribution: object) -> None: ...

        async def start(self) -> None: ...

        async def stop(self) -> None:
            await asyncio.Event().wait()

    ended: list[bool] = []
    monkeypatch.setattr(program, "Orchestrator", Standing)
    monkeypatch.setattr(program, "_CLOSE_PATIENCE", 0.05)
    monkeypatch.setattr(program, "_end", lambda: ended.append(True))
    settings = node_settings(Settings(data_dir=tmp_path, shutdown_timeout=0.1))
    stopped = asyncio.Event()
    stopped.set()
    async with asyncio.timeout(10):
        await program._work(settings, NodeDistribution(settings), lambda: None, stopped)
    assert ended == [True]
