"""Every error has one shape, whatever was raised."""

from __future__ import annotations

import json

import pytest
from tornado.web import HTTPError

from po_jupyter.errors import NotFound, RateLimited
from po_jupyter.server.error_response import WrongMethod, error_response


def test_our_own_errors_are_told_as_they_are() -> None:
    headers, body = error_response(404, NotFound("there is no run 'x'", hint="`po runs` lists yours."))
    error = json.loads(body)["error"]
    assert (error["code"], error["message"], error["hint"]) == (
        "not_found",
        "there is no run 'x'",
        "`po runs` lists yours.",
    )
    assert headers == {"Content-Type": "application/json; charset=utf-8"}


def test_an_accident_tells_nothing_of_what_is_inside() -> None:
    """P10: paths and values are in the log."""
    _, body = error_response(500, KeyError("/home/me/secret"))
    assert b"secret" not in body
    assert "log" in json.loads(body)["error"]["hint"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "unauthenticated"), (403, "forbidden"), (404, "not_found"), (400, "invalid_input")],
)
def test_errors_of_the_web_server_have_our_codes(status: int, code: str) -> None:
    _, body = error_response(status, HTTPError(status, "so"))
    assert json.loads(body)["error"]["code"] == code


def test_headers_say_what_comes_next() -> None:
    assert error_response(401, None).headers["WWW-Authenticate"].startswith("Bearer")
    limited = RateLimited("too many", details={"retry_after": 3})
    assert error_response(429, limited).headers["Retry-After"] == "3"
    wrong = WrongMethod("not here", details={"allowed": ["GET", "PUT"]})
    assert error_response(405, wrong).headers["Allow"] == "GET, PUT"
