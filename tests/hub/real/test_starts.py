"""A server that is gone in the middle of a run comes back by itself, where the admin wants it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.hub.real.conftest import await_state, rows, submit
from tests.support.jupyterhub import await_true, real_hub

pytestmark = pytest.mark.acceptance


def has_work(ledger: Path, user: str) -> bool:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as database:
        return database.execute("SELECT 1 FROM work WHERE username = ?", (user,)).fetchone() is not None


@pytest.mark.timeout(400)
def test_a_server_culled_in_mid_run_comes_back_by_itself_and_the_run_ends_done(
    vendor: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("starts")
    limits = {"start_servers_after": 3}
    with real_hub(folder, upstream=vendor.root_url, limits=limits, starts=True) as hub:
        hub.start_server(hub.alice)
        with hub.po(hub.alice) as client:
            run = submit(client, rows(200, "culled"))  # 15 s and more
        ledger = hub.folder / "po/ledger.sqlite"
        await_true(lambda: has_work(ledger, hub.alice), 60, "the word of the server", hub.log)
        hub.stop_server(hub.alice)  # as a culler does
        await_true(lambda: bool(hub.server(hub.alice).get("ready")), 120, "its return", hub.log)
        await_state(lambda: hub.po(hub.alice), run, "done", "failed", "dead", seconds=180)
        with hub.po(hub.alice) as client:
            assert client.get(f"runs/{run}").json()["run"]["state"] == "done"
