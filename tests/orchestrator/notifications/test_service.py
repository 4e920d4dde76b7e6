"""G12: a running orchestrator tells its channels of ends, failures and gates, though nobody looks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook
from structlog.testing import capture_logs

from po_jupyter.config import Settings
from po_jupyter.errors import CorruptRow, StoreError
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.notifications import channel_log, outbox, service
from po_jupyter.orchestrator.notifications.outbox import Delivery, Outbox
from po_jupyter.orchestrator.notifications.senders import SendResult
from po_jupyter.orchestrator.notifications.service import Notifier, url_maker
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Head
from tests.support.orchestrator import body, orchestrator, task, wait_for_state
from tests.support.stored_runs import RUN, store_run
from tests.support.webhook_receiver import SECRET, WebhookReceiver

pytestmark = pytest.mark.integration


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


async def test_done_failed_gate_and_dead_arrive_once_each(tmp_path: Path, receiver: WebhookReceiver) -> None:
    channels = {"ops": receiver.channel()}
    gated = {**task("draft"), "gate": {"message": "Look"}}
    async with orchestrator(
        tmp_path / "data", notifications=channels, public_url="https://hub/user/ada/"
    ) as running:
        submit = running.submissions.submit
        done, _ = await submit(body(task("a")), owner="me")
        failed, _ = await submit(body(task("a", fail=str(tmp_path / "never"))), owner="me")
        dead, _ = await submit(body(task("a", crash=True)), owner="me")
        waits, _ = await submit(body(gated), owner="me")
        await wait_for_state(running, dead.id)
        await wait_for_state(running, waits.id, ("waiting",))
        await asyncio.to_thread(receiver.wait_for, 4)
        assert (await running.maintenance.notifications())[0]["delivered"] in (3, 4)
        await running.control.gate(waits.id, "me", "approve")
        await wait_for_state(running, waits.id)
        posts = await asyncio.to_thread(receiver.wait_for, 5)
        await asyncio.sleep(0.6)  # what comes too often would come now
        assert len(receiver.posts) == 5
        (report,) = await running.maintenance.notifications()
        assert (report["delivered"], report["waiting"], report["error"]) == (5, 0, "")
    told = {(post.message["data"]["run"], post.message["type"]) for post in posts}
    assert told == {
        (done.id, "run.done"), (failed.id, "run.failed"), (dead.id, "run.dead"),
        (waits.id, "gate.opened"), (waits.id, "run.done"),
    }  # fmt: skip
    assert len({post.headers["webhook-id"] for post in posts}) == 5
    for post in posts:
        Webhook(SECRET).verify(post.body, post.headers)
        assert post.message["data"]["url"] == f"https://hub/user/ada/lab?po-run={post.message['data']['run']}"


async def test_a_wrong_secret_is_shown_and_tried_again_until_it_is_right(
    tmp_path: Path, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Done when 8: doctor, the route and the log say that the receiver refuses; none says address or secret."""
    monkeypatch.setattr(service.Notifier.__init__, "__kwdefaults__", {"first_pause": 0.2})
    receiver.status = 401
    async with orchestrator(tmp_path / "data", notifications={"ops": receiver.channel()}) as running:
        run, _ = await running.submissions.submit(body(task("a")), owner="me")
        await wait_for_state(running, run.id)
        await asyncio.to_thread(receiver.wait_for, 2)
        (report,) = await running.maintenance.notifications()
        assert (report["waiting"], report["delivered"]) == (1, 0)
        assert "same secret" in report["error"]
        found = {f["what"]: f for f in await running.doctor.examine()}["notifications ops"]
        assert found["verdict"] == "bad" and "same secret" in found["found"] and found["todo"]
        assert "of-ops" not in str(found) and SECRET not in str(found)
        receiver.status = 200
        (accepted,) = await asyncio.to_thread(receiver.wait_for, 1, accepted=True)
        assert {post.headers["webhook-id"] for post in receiver.posts} == {accepted.headers["webhook-id"]}
        assert {post.body for post in receiver.posts} == {accepted.body}
        async with asyncio.timeout(10):
            while (await running.maintenance.notifications())[0]["waiting"]:
                await asyncio.sleep(0.05)
        assert {f["what"]: f["verdict"] for f in await running.doctor.examine()}["notifications ops"] == "ok"


async def test_a_run_that_is_cancelled_in_the_queue_is_told_of(
    tmp_path: Path, receiver: WebhookReceiver
) -> None:
    channel = receiver.channel(events=["cancelled"])
    async with orchestrator(tmp_path / "data", notifications={"ops": channel}, max_running=1) as running:
        busy, _ = await running.submissions.submit(body(task("a", seconds=60)), owner="me")
        await wait_for_state(running, busy.id, ("running",))
        queued, _ = await running.submissions.submit(body(task("a")), owner="me")
        await running.control.cancel(queued.id, "me")
        await wait_for_state(running, queued.id)
        (post,) = await asyncio.to_thread(receiver.wait_for, 1)
        assert (post.message["type"], post.message["data"]["run"]) == ("run.cancelled", queued.id)
        await running.control.cancel(busy.id, "me")
        await wait_for_state(running, busy.id)


async def test_a_damaged_document_of_notifications_stops_no_run() -> None:
    class Damaged(MemoryStore):
        def get(self, kind: str, name: str) -> Any:
            if kind == outbox.KIND:
                raise CorruptRow("a row is not JSON")
            return super().get(kind, name)

    store = Damaged()
    store_run(store)
    with capture_logs() as lines:
        await notifier(store, ScriptedSender(SendResult())).watch(RUN)
    assert [line["run"] for line in lines] == [RUN]


async def test_without_channels_nothing_is_written(tmp_path: Path) -> None:
    async with orchestrator(tmp_path / "data") as running:
        run, _ = await running.submissions.submit(body(task("a")), owner="me")
        await wait_for_state(running, run.id)
        assert running.store.names("notifications") == []
        assert await running.maintenance.notifications() == []


class ScriptedSender:
    """Answers as it is told, the last answer for ever."""

    def __init__(self, *results: SendResult) -> None:
        self.results = list(results)
        self.sent: list[str] = []
        self.tried = asyncio.Event()

    async def send(self, delivery: Delivery) -> SendResult:
        self.sent.append(delivery["id"])
        self.tried.set()
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]

    async def close(self) -> None:
        pass


def notifier(store: MemoryStore, sender: ScriptedSender, **more: Any) -> Notifier:
    box = Outbox(store, RunProjections(store), {"ops": frozenset({"done"})}, lambda run: None)
    options = {"patience": 3600.0, "first_pause": 0.01, **more}
    return Notifier(box, store, ChangeFeed(), asyncio.to_thread, {"ops": sender}, **options)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def ended_run(store: MemoryStore) -> None:
    store_run(store)
    Outbox(store, RunProjections(store), {}, lambda run: None).watch(RUN)
    store.request(RUN, [draft("run.done")], "done")


async def test_it_is_given_up_when_its_time_is_over_or_the_receiver_wants_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for result, patience in (
        (SendResult("answered HTTP 500"), 0.2),
        (SendResult("gone", is_final=True), 3600.0),
    ):
        store, sender = MemoryStore(), ScriptedSender(result)
        ended_run(store)
        one = notifier(store, sender, patience=patience)
        with caplog.at_level(logging.ERROR):
            await one.start()
            await until(lambda store=store: channel_log.read(store, "ops")["given_up"] == 1)
            await one.close()
        assert store.names("notifications") == []
        assert channel_log.read(store, "ops")["error"] == result.error


async def test_pauses_grow_and_a_receivers_own_wish_counts() -> None:
    store, sender = MemoryStore(), ScriptedSender(SendResult("busy", retry_after=500.0))
    ended_run(store)
    one = notifier(store, sender, first_pause=5.0)
    assert [round(one._pause(n) / 5) in range(int(0.8 * 3**n), int(1.2 * 3**n) + 2) for n in range(5)] == [
        True
    ] * 5
    assert one._pause(30) <= 1.2 * service.LONGEST_PAUSE
    await one.start()
    await until(lambda: channel_log.read(store, "ops")["error"])
    await one.close()
    assert sender.sent == [f"msg_{RUN}_2"]
    box = Outbox(store, RunProjections(store), {}, lambda run: None)
    (left,) = box.pending()
    assert left.delivery["next_at"] - left.delivery["since"] >= 500


async def test_too_many_for_a_receiver_that_is_gone_are_given_up_from_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "MOST_WAITING", 2)
    store, sender = MemoryStore(), ScriptedSender(SendResult("away", retry_after=600.0))
    box = Outbox(store, RunProjections(store), {}, lambda run: None)
    for n in range(4):
        run = f"{n}" * 22
        store_run(store, run=run)
        box.watch(run)
        store.request(run, [draft("run.done")], "done")
    one = notifier(store, sender)
    await one.start()
    await until(lambda: channel_log.read(store, "ops")["given_up"] == 2)
    await one.close()
    assert len(list(box.pending())) == 2


async def test_messages_of_a_channel_that_is_no_more_are_dropped() -> None:
    store, sender = MemoryStore(), ScriptedSender(SendResult())
    ended_run(store)
    old = Outbox(store, RunProjections(store), {"old": frozenset({"done"})}, lambda run: None)
    assert len(old.collect(RUN)) == 1
    one = notifier(store, sender)
    await one.start()
    await until(lambda: store.names("notifications") == [])
    await one.close()
    assert sender.sent == []


def test_links_lead_to_where_people_open_the_lab(tmp_path: Path) -> None:
    jupyter = {"kind": "jupyter", "url": "http://127.0.0.1:8888/me/", "socket": None, "token": "t"}
    settings = Settings(data_dir=tmp_path)
    assert url_maker(settings, jupyter)("1") == "http://127.0.0.1:8888/me/lab?po-run=1"
    assert url_maker(settings, {**jupyter, "kind": "headless"})("1") is None
    assert url_maker(settings, {**jupyter, "socket": "/x"})("1") is None
    assert url_maker(settings, None)("1") is None
    public = Settings(data_dir=tmp_path, public_url="https://hub/user/ada")
    assert url_maker(public, None)("1") == "https://hub/user/ada/lab?po-run=1"


OTHER = "f" * 22


class FaultyStore(MemoryStore):
    """A store of which one run is damaged, and that loses the acknowledgement of writes when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.damaged = ""
        self.lost = 0
        self.refused = 0

    def head(self, run: str) -> Head:
        if run == self.damaged:
            raise CorruptRow("a row is not JSON")
        return super().head(run)

    def swap(self, kind: str, name: str, old: Any, new: Any) -> bool:
        if kind == outbox.KIND and old and old["pending"] and self.refused:  # a message is taken out
            self.refused -= 1
            raise StoreError("the disk is full")
        done = super().swap(kind, name, old, new)
        if kind == outbox.KIND and new is not None and new["pending"] and self.lost:
            self.lost -= 1
            raise StoreError("the connection was lost")
        return done


async def test_one_damaged_run_does_not_silence_the_others() -> None:
    store, sender = FaultyStore(), ScriptedSender(SendResult())
    ended_run(store)
    store_run(store, run=OTHER)
    Outbox(store, RunProjections(store), {}, lambda run: None).watch(OTHER)
    store.request(OTHER, [draft("run.done")], "done")
    store.damaged = RUN
    one = notifier(store, sender)
    with capture_logs() as lines:
        await one.start()
        await until(lambda: sender.sent)
        await one.close()
    assert sender.sent == [f"msg_{OTHER}_2"]
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert "is damaged" in line["event"] and line["run"] == RUN


async def test_what_is_left_of_a_damaged_run_is_delivered_and_settled() -> None:
    store, sender = FaultyStore(), ScriptedSender(SendResult())
    ended_run(store)
    Outbox(store, RunProjections(store), {"ops": frozenset({"done"})}, lambda run: None).collect(RUN)
    store.damaged = RUN
    one = notifier(store, sender)
    await one.start()
    await until(lambda: channel_log.read(store, "ops")["delivered"])
    await one.close()
    assert sender.sent == [f"msg_{RUN}_2"]
    assert list(Outbox(store, RunProjections(store), {}, lambda run: None).pending()) == []


async def test_a_message_whose_write_lost_its_acknowledgement_is_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "_STORE_PAUSE", 0.01)
    store, sender = FaultyStore(), ScriptedSender(SendResult())
    ended_run(store)
    store.lost = 1
    one = notifier(store, sender)
    await one.start()
    await until(lambda: store.names("notifications") == [])
    await one.close()
    assert sender.sent == [f"msg_{RUN}_2"]


async def test_a_failure_while_another_message_is_given_up_costs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is full, and the store fails just when the oldest is given up."""
    monkeypatch.setattr(service, "_STORE_PAUSE", 0.01)
    monkeypatch.setattr(service, "MOST_WAITING", 0)
    store, sender = FaultyStore(), ScriptedSender(SendResult("away", retry_after=600.0))
    ended_run(store)
    store.refused = 1
    one = notifier(store, sender)
    await one.start()
    await until(lambda: store.names("notifications") == [])
    await one.close()


async def test_a_message_is_sent_once_though_its_run_changes_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "_COLLECT", 0.0)
    store = MemoryStore()
    ended_run(store)
    changes = ChangeFeed()
    sender = ScriptedSender(SendResult("busy", retry_after=0.05), SendResult("busy"), SendResult())
    box = Outbox(store, RunProjections(store), {"ops": frozenset({"done"})}, lambda run: None)
    one = Notifier(box, store, changes, asyncio.to_thread, {"ops": sender}, patience=3600.0, first_pause=0.05)
    await one.start()
    async with asyncio.timeout(10):
        while not channel_log.read(store, "ops")["delivered"]:
            one._on_change(RUN)
            await asyncio.sleep(0)
    await one.close()
    assert len(sender.sent) == 3
