"""G12, P10: what is wrong with a channel is shown, its address and secret are not."""

from __future__ import annotations

import json
from pathlib import Path

from po_jupyter.config import Settings
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.notifications import channel_log
from po_jupyter.orchestrator.notifications.outbox import Outbox
from po_jupyter.orchestrator.notifications.report import channel_reports
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.stored_runs import RUN, store_run
from tests.support.webhook_receiver import SECRET

CHANNELS = {
    "ops": {"webhook": "https://ops.example:8443/T0KEN-IN-THE-PATH?key=abc", "secret": SECRET, "events": ["dead"]},
    "mail": {"apprise": "mailtos://me:PASSWORD@example.com"},
}  # fmt: skip


def test_a_report_says_what_waits_and_why(tmp_path: Path) -> None:
    store, settings = MemoryStore(), Settings(data_dir=tmp_path, notifications=CHANNELS)
    store_run(store)
    box = Outbox(store, RunProjections(store), {"ops": frozenset({"done"})}, lambda run: None)
    box.watch(RUN)
    store.request(RUN, [draft("run.done")], "done")
    (found,) = box.collect(RUN)
    box.postpone(found, "refused (HTTP 401)", 2_000_000_000.0)
    channel_log.failed(store, "ops", "refused (HTTP 401)", given_up=False)
    ops, mail = channel_reports(settings, store)
    assert (ops["receiver"], ops["kind"], ops["events"]) == ("ops.example", "webhook", ["dead"])
    assert (ops["waiting"], ops["next_at"], ops["error"]) == (
        1,
        "2033-05-18T03:33:20+00:00",
        "refused (HTTP 401)",
    )
    assert (mail["receiver"], mail["waiting"], mail["next_at"]) == ("mailtos", 0, None)
    shown = json.dumps([ops, mail])
    assert "T0KEN" not in shown and "PASSWORD" not in shown and SECRET not in shown


def test_without_channels_nothing_is_read(tmp_path: Path) -> None:
    assert channel_reports(Settings(data_dir=tmp_path), None) == []
