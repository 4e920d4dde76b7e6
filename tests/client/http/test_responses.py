"""Responses: an object of the orchestrator, its own error, or what another server means by its status."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from po_jupyter.client.http.responses import START_HINT, read_response
from po_jupyter.errors import (
    Conflict,
    Forbidden,
    InvalidSeed,
    NotFound,
    PoError,
    RateLimited,
    Unauthenticated,
    Unavailable,
)

URL = "http://127.0.0.1:1/"


def read(status: int, body: Any = None, **more: Any) -> Any:
    response = (
        httpx.Response(status, text=body, **more)
        if isinstance(body, str)
        else httpx.Response(status, json=body)
    )
    return read_response(URL, response)


def test_an_object_is_the_answer_and_nothing_is_an_empty_one() -> None:
    assert read(200, {"run": 1}) == {"run": 1}
    assert read(202, {}) == {}
    assert read(204, "") == {}


def test_an_error_of_ours_comes_back_as_it_was() -> None:
    """P11: with its hint, its details and its violations, whatever the status says."""
    sent = InvalidSeed("no", hint="look", details={"violations": [{"where": "name", "message": "empty"}]})
    with pytest.raises(InvalidSeed) as caught:
        read(400, {"error": sent.to_json()})
    assert (caught.value.message, caught.value.hint) == (sent.message, "look")
    assert [v.where for v in caught.value.violations] == ["name"]


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (401, "<html>login", Unauthenticated, "wants a token"),
        (403, "'_xsrf' argument missing", Forbidden, "does not accept this token"),
        (302, "", Forbidden, "does not accept this token"),
        (308, "", Forbidden, "does not accept this token"),
        (404, "<html>404", NotFound, "has no po_jupyter"),
        (404, {"message": "not found"}, NotFound, "has no po_jupyter"),
        (409, "", Conflict, "409"),
        (429, "", RateLimited, "too many requests"),
        (502, "<html>bad gateway", Unavailable, "answered 502"),
        (200, "<html>a login page", Unavailable, "answered 200"),
        (200, [1], Unavailable, "answered 200"),
        (500, {"error": "broken"}, Unavailable, "answered 500"),
        (500, {"error": {"message": "no code"}}, Unavailable, "answered 500"),
    ],
)
def test_a_response_of_another_server_is_told_for_what_it_is(
    status: int, body: Any, error: type[PoError], says: str
) -> None:
    """P11: a proxy, a hub, a page: with its address."""
    with pytest.raises(error, match=says) as caught:
        read(status, body)
    assert type(caught.value) is error
    assert URL in caught.value.message
    if error is Unavailable:
        assert caught.value.hint == START_HINT


def test_a_server_without_us_is_told_from_a_run_that_is_not_there() -> None:
    """Discovery looks on at the first, and not at the second."""
    with pytest.raises(NotFound) as foreign:
        read(404, "nothing here")
    with pytest.raises(NotFound) as ours:
        read(404, {"error": {"code": "not_found", "message": "there is no run", "hint": "", "details": {}}})
    assert (foreign.value.details.get("foreign"), ours.value.details.get("foreign")) == (True, None)
