"""Which routes of shared runs are passed on, and that nothing else is."""

from __future__ import annotations

import re

import httpx
import pytest

from po_jupyter.errors import NotFound, PoError
from po_jupyter.server.routes import TABLE
from po_jupyter.server.shared_proxy import SharedRunsHandler, address_of


@pytest.mark.parametrize("route", TABLE.routes, ids=lambda route: route.name)
def test_runs_alone_are_passed_on_with_the_scopes_of_runs(route) -> None:
    handler = SharedRunsHandler.__new__(SharedRunsHandler)
    handler._table = TABLE
    path = re.sub(r"\{(\w+)\}", "1", route.path)
    is_of_runs = route.path.startswith(("runs", "dead-letters")) and route.name != "move"
    try:
        handler._match(route.method, path)
    except (NotFound, PoError):
        assert not is_of_runs
    else:
        assert is_of_runs
        assert not {"admin", "metrics"} & set(route.scopes)


@pytest.mark.parametrize("path", [
    "runs/..", "runs/.", "runs/../events", "dead-letters/..", "runs/1/artifacts/../../../../../../hub/api/user",
    "runs/1/artifacts/x/../../../../../../../services/po/usage", "runs/1/artifacts/./x",
])  # fmt: skip
def test_no_path_leads_out_of_the_service_with_the_users_token(path: str) -> None:
    """The hub's own API, and every other service, take the same token."""
    handler = SharedRunsHandler.__new__(SharedRunsHandler)
    handler._table = TABLE
    with pytest.raises(NotFound):
        handler._match("GET", path)


@pytest.mark.parametrize("path", [
    "runs/1/artifacts/a b.png", "runs/1/artifacts/%2e%2e/%2e%2e/x", "runs/1/artifacts/a?x=1", "runs/1/artifacts/a#b",
    "runs/1/artifacts/..\\..\\x", "runs/1/artifacts/größe.txt", "runs/1/artifacts//hub/api", "runs/1?group=x",
])  # fmt: skip
def test_what_is_asked_there_is_the_path_that_was_checked_here(path: str) -> None:
    url = httpx.URL(address_of("https://hub.example/services/po-runs", path, "limit=5"))
    assert (url.host, url.path, url.query) == (
        "hub.example", f"/services/po-runs/po/api/v1/{path}", b"limit=5"
    )  # fmt: skip
