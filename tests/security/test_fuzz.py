"""Requests that nobody thought of, made up from the OpenAPI document; `tests.support.api_fuzz` sends 10,000 by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from po_jupyter.server.openapi import document
from po_jupyter.server.routes import TABLE
from tests.support.jupyter_process import JupyterProcess

pytest.importorskip("schemathesis", reason="the extra `fuzz` is not installed")

from tests.support import api_fuzz

pytestmark = pytest.mark.acceptance
REQUESTS = 400


@pytest.fixture
def server(tmp_path: Path) -> Iterator[JupyterProcess]:
    process = api_fuzz.start(tmp_path)
    yield process
    process.stop()


@pytest.mark.timeout(240)
def test_no_request_gets_a_500_or_a_status_that_is_not_documented(server: JupyterProcess) -> None:
    """Done when 4: over all operations and scopes, the anonymous and a wrong token among them."""
    fuzzer = api_fuzz.Fuzzer(server)
    fuzzer.send(REQUESTS)
    fuzzer.close()
    outcome = fuzzer.outcome
    assert outcome.wrong == []
    assert api_fuzz.tracebacks(server) == []
    assert {200, 400, 401, 403, 404} <= outcome.statuses.keys()
    assert len(outcome.operations) == len(TABLE.routes)


def test_the_document_names_every_status_and_no_500() -> None:
    """A client knows what may come; `default` said anything."""
    for path, operations in document(TABLE)["paths"].items():
        for operation in operations.values():
            statuses = operation["responses"].keys()
            assert all(re.fullmatch("[245]\\d\\d", status) for status in statuses), path
            assert {"401", "403", "429", "503"} <= statuses
            assert "500" not in statuses
