"""G12: what goes out is what Standard Webhooks say, and goes nowhere else."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from po_jupyter.config import NotificationChannel
from po_jupyter.orchestrator.notifications.outbox import Delivery, new_delivery
from po_jupyter.orchestrator.notifications.senders import (
    AppriseSender,
    WebhookSender,
    missing_package,
    sender_of,
    signature,
)
from tests.support.webhook_receiver import SECRET, WebhookReceiver

pytestmark = pytest.mark.integration


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


def delivery() -> Delivery:
    message: Any = {
        "type": "run.done", "timestamp": "2026-11-26T12:00:00.000Z",
        "data": {"run": "0" * 22, "pipeline": "größe", "version": "1", "owner": "me", "state": "done", "task": None,
                 "code": None, "reason": "", "cost_usd": None, "calls": 0, "url": None},
    }  # fmt: skip
    return new_delivery("msg_1", "ops", message)


async def send(url: str, secret: str = SECRET) -> Any:
    sender = WebhookSender(url, secret)
    try:
        return await sender.send(delivery())
    finally:
        await sender.close()


async def test_the_standards_own_library_accepts_the_signature(receiver: WebhookReceiver) -> None:
    assert (await send(receiver.url)).error == ""
    (post,) = receiver.posts
    assert Webhook(SECRET).verify(post.body, post.headers)["data"]["pipeline"] == "größe"
    assert post.headers["webhook-id"] == "msg_1"
    assert abs(int(post.headers["webhook-timestamp"]) - time.time()) < 60
    for changed in (post.body + b" ", post.body.replace(b"run.done", b"run.dead")):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(changed, post.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(post.body, post.headers)


def test_id_and_time_are_signed_too() -> None:
    signed = signature(SECRET, "msg_1", 1000, b"{}")
    assert signed.startswith("v1,")
    others = {signature(SECRET, "msg_2", 1000, b"{}"), signature(SECRET, "msg_1", 1001, b"{}")}
    assert signed not in others
    assert len(others) == 2


async def test_the_address_is_in_no_log(receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture) -> None:
    """P10: httpx and httpcore write of every request; other requests of this process keep their lines."""
    with caplog.at_level(logging.DEBUG):
        receiver.status, receiver.headers = 302, {"location": receiver.url + "/SECRET-ANSWER"}
        await send(receiver.url + "/SECRET-PATH?key=SECRET-KEY")
        await send("http://127.0.0.1:9/SECRET-PATH")
        assert "SECRET" not in caplog.text
        async with httpx.AsyncClient() as other:
            await other.post(receiver.url + "/somebody-elses")
    assert "somebody-elses" in caplog.text


async def test_a_redirect_is_not_followed(receiver: WebhookReceiver) -> None:
    """A receiver that could send us on would have the server ask any address of its network."""
    with WebhookReceiver() as elsewhere:
        for status in (301, 302, 307, 308):
            receiver.status, receiver.headers = status, {"location": elsewhere.url}
            result = await send(receiver.url)
            assert "redirect" in result.error
            assert elsewhere.url not in result.error
        assert elsewhere.posts == []


@pytest.mark.parametrize(
    ("status", "words", "is_final"),
    [(401, "same secret", False), (403, "same secret", False), (404, "HTTP 404", False), (500, "HTTP 500", False),
     (410, "wants no more", True)],
)  # fmt: skip
async def test_a_refusal_is_said_as_what_it_is(
    receiver: WebhookReceiver, status: int, words: str, is_final: bool
) -> None:
    receiver.status = status
    result = await send(receiver.url)
    assert words in result.error
    assert result.is_final is is_final


async def test_a_receiver_says_when_to_come_again(receiver: WebhookReceiver) -> None:
    receiver.status, receiver.headers = 429, {"retry-after": "120"}
    assert (await send(receiver.url)).retry_after == 120
    receiver.headers = {"retry-after": "99999999"}
    assert (await send(receiver.url)).retry_after == 6 * 3600
    receiver.headers = {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert (await send(receiver.url)).retry_after == 0


async def test_nobody_at_home_is_an_error_without_the_address() -> None:
    with WebhookReceiver() as gone:
        url = gone.url
    result = await send(url)
    assert "cannot be reached" in result.error
    assert "127.0.0.1" not in result.error and "hook" not in result.error


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what apprise imports
async def test_apprise_sends_a_mail_or_a_chat_line(receiver: WebhookReceiver) -> None:
    sender = AppriseSender(f"json://127.0.0.1:{receiver.port}/chat")
    assert (await sender.send(delivery())).error == ""
    (post,) = receiver.posts
    assert post.path == "/chat"
    assert post.message["title"] == "größe 000000: done"
    receiver.status = 500
    assert "did not take it" in (await sender.send(delivery())).error
    assert "does not know" in (await AppriseSender("nonsense").send(delivery())).error
    await sender.close()


async def test_without_apprise_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    channel = NotificationChannel.model_validate({"apprise": "json://localhost"})
    assert missing_package(channel) == ""
    monkeypatch.setitem(sys.modules, "apprise", None)
    sender = sender_of(channel)
    assert "pip install 'po_jupyter[notify]'" in (await sender.send(delivery())).error
    monkeypatch.setattr("po_jupyter.orchestrator.notifications.senders.find_spec", lambda name: None)
    assert missing_package(channel) == "apprise is not installed"
