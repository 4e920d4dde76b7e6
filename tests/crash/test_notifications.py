"""Done-when 8 of the face: notifications arrive when no tab is open, once per event, also after kills."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from po_jupyter.store.disk.store import DiskStore
from tests.support.jupyter_process import JupyterProcess
from tests.support.orchestrator import body, end_workers, task
from tests.support.webhook_receiver import SECRET, Post, WebhookReceiver

pytestmark = pytest.mark.acceptance


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


class Server:
    """A Jupyter server with a channel, killed and started again over one data directory."""

    def __init__(self, folder: Path, channel: dict[str, object]) -> None:
        self.folder = folder
        self.environ = {
            "PO_NOTIFICATIONS": json.dumps({"ops": channel}), "PO_STORE_SHARDS": "2", "PO_LEASE_TTL": "2",
        }  # fmt: skip
        self.start()

    def start(self) -> None:
        self.process = JupyterProcess(self.folder, orchestrator=None, env=self.environ)

    def kill(self) -> None:
        self.process.kill()

    def submit(self, **config: object) -> str:
        with self.process.http() as http:
            answer = http.post("runs", json=body(task("a", **config)))
            assert answer.status_code == 201, answer.text
            return str(answer.json()["run"]["id"])

    def state(self, run: str) -> str:
        with self.process.http() as http:
            return str(http.get(f"runs/{run}").json()["run"]["state"])

    def stored_state(self, run: str) -> str:
        """As it is in the store, while no server runs."""
        store = DiskStore(self.process.data / "store")
        try:
            return store.head(run)["state"]
        finally:
            store.close()


@pytest.fixture
def server(tmp_path: Path, receiver: WebhookReceiver) -> Iterator[Server]:
    server = Server(tmp_path, receiver.channel())
    yield server
    server.process.stop()
    end_workers(server.process.data)


def wait_until(condition: object, patience: float = 40.0) -> None:
    until = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def ids(posts: list[Post]) -> dict[str, str]:
    """The run of each webhook-id."""
    return {post.headers["webhook-id"]: post.message["data"]["run"] for post in posts}


def test_a_run_that_ends_while_there_is_no_server_is_told_by_the_next(
    server: Server, receiver: WebhookReceiver
) -> None:
    """P1: its worker outlives the server and ends it; nobody was there to notice."""
    run = server.submit(seconds=2)
    wait_until(lambda: server.state(run) == "running")
    server.kill()
    wait_until(lambda: server.stored_state(run) == "done")
    assert receiver.posts == []
    server.start()
    (post,) = receiver.wait_for(1, timeout=40)
    assert ids([post]) == {post.headers["webhook-id"]: run}
    Webhook(SECRET).verify(post.body, post.headers)


def test_kills_between_event_and_delivery_lose_nothing_and_invent_no_id(
    server: Server, receiver: WebhookReceiver
) -> None:
    """The receiver is down while runs end and servers are killed; then each event is accepted once, under one id."""
    receiver.status = 503
    runs = {server.submit() for _ in range(3)}
    receiver.wait_for(3, timeout=40)  # refused: they wait in the outbox
    server.kill()
    server.start()
    runs |= {server.submit(), server.submit(seconds=1)}
    wait_until(lambda: all(server.state(run) == "done" for run in runs))
    server.kill()
    receiver.status = 200
    server.start()
    wait_until(lambda: len({post.message["data"]["run"] for post in receiver.accepted()}) == 5)
    server.kill()  # right behind a delivery
    server.start()
    last = server.submit()
    wait_until(lambda: last in {post.message["data"]["run"] for post in receiver.accepted()})
    time.sleep(1)  # what is sent twice would come now
    told = ids(receiver.posts)
    assert set(told.values()) == runs | {last}
    assert len(told) == 6, "one id a run, whatever was refused or killed"
    bodies = {(post.headers["webhook-id"], post.body) for post in receiver.posts}
    assert len(bodies) == 6, "and always the same message"
    with server.process.http() as http:
        (channel,) = http.get("notifications").json()["channels"]
    assert (channel["waiting"], channel["given_up"], channel["error"]) == (0, 0, "")
    text = server.process.log.read_text() + "".join(p.read_text() for p in server.process.data.rglob("*.log"))
    assert SECRET not in text and "of-ops" not in text


def test_workers_know_no_secret_of_a_channel(server: Server, receiver: WebhookReceiver) -> None:
    """P10: neither in their variables nor in their settings."""
    source = (
        "import os\n\ndef ingestion(ctx):\n"
        "    return [n for n, v in os.environ.items() if 'whsec' in v or 'of-ops' in v]\n"
    )
    with server.process.http() as http:
        answer = http.post("runs", json=body({"name": "look", "source": source}))
        run = answer.json()["run"]["id"]
        wait_until(lambda: server.state(run) == "done")
        assert http.get(f"runs/{run}/outputs").json()["outputs"] == {"look": []}
