"""The same four notebooks, unchanged, on a server whose runs are in PostgreSQL and told of by a broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.notebooks import (
    test_notebook_gates,
    test_notebook_maps,
    test_notebook_models,
    test_notebook_quickstart,
)
from tests.support.brokers import BrokerServer, ValkeyServer, running
from tests.support.jupyter_process import JupyterProcess
from tests.support.postgres import PostgresServer, postgres_server


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def broker() -> Iterator[BrokerServer]:
    with running(ValkeyServer) as server:
        yield server


class SharedStore:
    """Makes the servers that a notebook's test starts nodes of one store; `schema` is where its runs are."""

    def __init__(self, database: PostgresServer, broker: BrokerServer) -> None:
        self._database = database
        self.url = database.url()
        self.environ = {"PO_STORE": self.url, "PO_BROKER": broker.url}

    def __call__(self, folder: Path, *, env: dict[str, str] | None = None, **more: Any) -> JupyterProcess:
        return JupyterProcess(folder, env=self.environ | (env or {}), **more)

    def runs(self) -> int:
        """The runs in the database."""
        schema = self.url.rpartition("schema=")[2]
        ((count,),) = self._database.execute(f'SELECT count(*) FROM "{schema}".heads')
        assert isinstance(count, int)
        return count


@pytest.fixture
def shared(database: PostgresServer, broker: BrokerServer) -> SharedStore:
    return SharedStore(database, broker)


def use(shared: SharedStore, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
    for module in modules:
        monkeypatch.setattr(module, "JupyterProcess", shared)


def test_gates_and_recovery(tmp_path: Path, shared: SharedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    use(shared, monkeypatch, test_notebook_gates)
    test_notebook_gates.test_gates_and_recovery_execute_top_to_bottom(tmp_path)
    assert shared.runs() >= 4


@pytest.mark.slow
def test_quickstart(tmp_path: Path, shared: SharedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    use(shared, monkeypatch, test_notebook_quickstart)
    test_notebook_quickstart.test_the_notebook_executes_top_to_bottom(tmp_path)
    assert shared.runs() >= 1


@pytest.mark.slow
def test_maps(tmp_path: Path, shared: SharedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    use(shared, monkeypatch, test_notebook_maps)
    test_notebook_maps.test_the_notebook_of_maps_executes_top_to_bottom(tmp_path)
    assert shared.runs() >= 4


@pytest.mark.slow
def test_models_and_money(tmp_path: Path, shared: SharedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    use(shared, monkeypatch, test_notebook_models)
    test_notebook_models.test_models_and_money_execute_top_to_bottom(tmp_path, monkeypatch)
    assert shared.runs() >= 1  # its other runs are of an orchestrator that the notebook makes for itself
