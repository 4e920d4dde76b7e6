"""P5: what every route answers to everybody, against the table in `scopes.md` and against the route's own scopes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from po_jupyter.server.routes import TABLE
from tests.security import scopes

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    process = scopes.server(tmp_path_factory.mktemp("scopes"))
    with scopes.client_of(process) as client:
        yield client
    process.stop()


def test_every_door_answers_everybody_as_the_table_says(client: httpx.Client) -> None:
    """A route that is new, or answers otherwise, is seen in the diff of the table."""
    assert scopes.table(client) == scopes.FILE.read_text(), (
        "run `python -m tests.security.scopes`, and look at its diff"
    )


def test_the_table_refuses_whom_the_routes_do_not_name() -> None:
    """Anonymous 401, a wrong token 403, a missing scope 403, whatever other scopes there are; and nobody else."""
    rows = [line.strip("| ").split(" | ") for line in scopes.FILE.read_text().splitlines() if line[:1] == "|"]
    found = {row[0]: list(map(int, row[2:])) for row in rows if len(row) > 3 and row[2].isdecimal()}
    wrong = []
    for route in TABLE.routes:
        answers = found[f"{route.method} {route.path}"]
        for (name, _), answer, refusal in zip(
            scopes.callers(), answers, scopes.expected_refusals(route), strict=True
        ):
            if (answer != refusal) if refusal is not None else (answer in (401, 403)):
                wrong.append(f"{route.name} for {name}: {answer}")
    assert wrong == []


def test_every_other_verb_of_every_path_is_closed(client: httpx.Client) -> None:
    """405 for somebody with all scopes, 401 and 403 for strangers: no verb is a door that nobody thought of."""
    nobody, wrong, *_, everybody = scopes.callers()
    known = {(route.method, scopes.path_of(route)) for route in TABLE.routes}
    matched = {path: [m for m in scopes.VERBS if isinstance(TABLE.match(m, path), tuple)] for _, path in known}
    odd = []
    for path, methods in matched.items():
        for method in scopes.VERBS:
            if method in methods:
                continue
            for (name, headers), status in ((nobody, 401), (wrong, 403), (everybody, 405)):
                answer = scopes.ask(client, method, path, headers)
                if answer != status:
                    odd.append(f"{method} {path} for {name}: {answer} instead of {status}")
    assert odd == []


def test_the_check_can_fail(tmp_path: Path) -> None:
    """An extension that leaves a door open is seen by the same questions."""
    process = scopes.JupyterProcess(tmp_path, extensions=("open_door", "po_jupyter"), strict=False)
    try:
        with scopes.client_of(process) as client:
            assert set(scopes.statuses(client, "GET", "left-open")) == {200}
    finally:
        process.stop()
