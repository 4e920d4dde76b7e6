"""Which routes of shared runs are passed on, and that nothing else is."""

from __future__ import annotations

import re

import pytest

from po_jupyter.errors import NotFound, PoError
from po_jupyter.server.routes import TABLE
from po_jupyter.server.shared_proxy import SharedRunsHandler


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
