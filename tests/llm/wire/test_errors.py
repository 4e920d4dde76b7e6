"""Errors of providers: the class, the wait and the hint, from a status and a body of any vendor."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from po_jupyter.errors import ModelKeyError, ModelRateLimited, ModelRefused, ModelUnavailable
from po_jupyter.llm.wire.bodies import HttpResponse
from po_jupyter.llm.wire.errors import (
    error_from_response,
    redact,
    response_request_id,
    retry_after,
    status_of_error,
)

KEY = "sk-secret-0123456789"


def error_of(status, body=None, headers=None, key_env="TOY_API_KEY"):
    raw = body if isinstance(body, bytes) else json.dumps(body if body is not None else {}).encode()
    response = HttpResponse(status, httpx.Headers(headers or {}), raw)
    return error_from_response(response, provider="toy", model="m", key=KEY, key_env=key_env)


def test_retry_after_as_a_date():
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    later = format_datetime(now + timedelta(seconds=90), usegmt=True)
    earlier = format_datetime(now - timedelta(seconds=90), usegmt=True)
    assert retry_after({"retry-after": later}, now=now) == 90
    assert retry_after({"retry-after": earlier}, now=now) == 0
    assert retry_after({"retry-after": "Sun, 22 Nov 2026 12:01:30"}, now=now) == 90, "without a zone it is UTC"


def test_keys_are_taken_out_of_every_text():
    """P10."""
    assert redact("bad sk-proj-abcdefgh1234 and Bearer abcdefgh12") == "bad *** and ***"
    assert redact('a "quoted\\"key" b', 'quoted"key') == 'a "***" b'
    error = error_of(401, {"error": {"message": f"no {KEY}", "type": KEY, "code": KEY}, "request_id": KEY})
    assert KEY not in json.dumps(error.to_json())


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind"),
    [
        (403, {}, {}, ModelKeyError),
        (400, [{"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}}], {}, ModelKeyError),
        (402, {}, {}, ModelRefused),
        (429, {"error": {"code": "1113"}}, {}, ModelRefused),
        (429, {}, {"x-should-retry": "false"}, ModelRefused),
        (400, {}, {"x-should-retry": "true"}, ModelUnavailable),
        (500, {}, {"x-should-retry": "false"}, ModelRefused),
        (529, {}, {}, ModelUnavailable),
        (599, b"<html>", {"content-type": "text/html"}, ModelUnavailable),
        (418, b"tea", {}, ModelRefused),
    ],
)
def test_the_class_says_whether_another_try_helps(status, body, headers, kind):
    """P7."""
    assert type(error_of(status, body, headers)) is kind


def test_the_wait_of_a_header_wins_over_that_of_the_body():
    body = {"error": {"code": 429, "details": [{"retryDelay": "12.5s"}, "noise", {"retryDelay": "soon"}]}}
    assert error_of(429, body).retry_after == 12.5
    assert error_of(429, body, {"retry-after": "3"}).retry_after == 3.0
    assert isinstance(error_of(429, body), ModelRateLimited)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "a  b\nc"}}, "a b c"),
        ({"error": {"detail": "d"}}, "d"),
        ({"msg": "e"}, "e"),
        ({"error": "f", "message": "g"}, "f: g"),
        ({"error": "f"}, "f"),
        (b"plain text", "plain text"),
        ([{"error": {"message": "h"}}], "h"),
        ({"error": {"message": "x" * 900}}, "x" * 500),
    ],
)
def test_the_message_is_found_in_every_shape(body, message):
    assert error_of(418, body).message == f"toy answered 418 for m: {message}"


def test_a_page_of_html_is_no_message():
    assert error_of(418, b"<h1>no</h1>", {"content-type": "text/html"}).message == "toy answered 418 for m"


def test_the_hint_says_what_to_do_next():
    assert "po keys set toy" in error_of(401).hint and error_of(401, key_env="").hint == ""
    assert "correct the base URL" in error_of(302).hint
    assert "model's name" in error_of(404).hint
    assert "too long" in error_of(400, {"error": {"code": "context_length_exceeded"}}).hint
    assert "too long" in error_of(400, {"error": {"message": "Prompt is too long: 9"}}).hint
    assert error_of(400).hint == ""


def test_what_became_of_a_request_behind_a_proxy_is_unknown():
    assert error_of(502).outcome == error_of(524).outcome == "unknown" and error_of(500).outcome is None
    assert ModelUnavailable("x", details=error_of(504).details, at_once=True).outcome == "unknown"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 429}, 429),
        ({"code": 12, "status": "x", "type": "overloaded_error"}, 529),
        ({"type": "new_error"}, 502),
        ("text", 502),
    ],
)
def test_an_error_inside_a_200_has_a_status_of_its_own(error, status):
    assert status_of_error(error) == status


def test_the_id_of_a_request_is_bounded():
    assert response_request_id({"cf-ray": "r" * 900}) == "r" * 200 and response_request_id({}) == ""
