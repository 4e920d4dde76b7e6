"""The report about channels: whom messages go to, what waits, and what is wrong. It blocks: call it in a thread."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Literal, TypedDict
from urllib.parse import urlsplit

from po_jupyter.config import NotificationChannel, Settings
from po_jupyter.orchestrator.notifications import channel_log
from po_jupyter.orchestrator.notifications.outbox import pending_deliveries
from po_jupyter.orchestrator.notifications.senders import missing_package
from po_jupyter.store.protocol import Store


class ChannelReport(TypedDict):
    """One channel. `receiver` is a host, or the kind of a service: an address may be a secret itself. `waiting`
    messages are tried again, the next one at `next_at`; `error` says why the last try failed or what is missing."""

    name: str
    kind: Literal["webhook", "apprise"]
    receiver: str
    events: list[str]
    delivered: int
    delivered_at: str | None
    waiting: int
    next_at: str | None
    given_up: int
    given_up_at: str | None
    error: str
    error_at: str | None


def channel_reports(settings: Settings, store: Store) -> list[ChannelReport]:
    """A report for each channel of the settings, in their order."""
    if not settings.notifications:
        return []
    waiting: Counter[str] = Counter()
    next_at: dict[str, float] = {}
    for _, delivery in pending_deliveries(store):
        channel = delivery["channel"]
        waiting[channel] += 1
        next_at[channel] = min(delivery["next_at"], next_at.get(channel, delivery["next_at"]))
    reports: list[ChannelReport] = []
    for name, channel_settings in settings.notifications.items():
        log = channel_log.read(store, name)
        at = next_at.get(name)
        reports.append(
            {
                "name": name,
                "kind": "apprise" if channel_settings.webhook is None else "webhook",
                "receiver": receiver(channel_settings),
                "events": list(channel_settings.events),
                "waiting": waiting[name],
                "next_at": None
                if at is None
                else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"),
                **log,
                "error": missing_package(channel_settings) or log["error"],
            }
        )
    return reports


def receiver(channel: NotificationChannel) -> str:
    """Whom a channel tells, without what may be secret in its address (P10)."""
    if channel.webhook is not None:
        return urlsplit(channel.webhook.get_secret_value()).hostname or ""
    assert channel.apprise is not None  # the settings see to it
    service, sign, _ = channel.apprise.get_secret_value().partition("://")
    return service if sign else ""
