"""What administrators ask, and limits that change without a restart."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from po_jupyter.testing.model_server import ModelServer
from tests.support.hub import KEY, GatewayClient, running

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]


@pytest.fixture
def vendor() -> Iterator[ModelServer]:
    with ModelServer(key=KEY) as server:
        yield server


@pytest_asyncio.fixture
async def gateway(tmp_path: Path, vendor: ModelServer) -> AsyncIterator[GatewayClient]:
    async with running(tmp_path, vendor.root_url, limits={"each_user": {"usd_per_day": 1}}) as client:
        for token in ("alice-token", "alice-token", "bob-token"):
            assert (await client.chat(token=token))[0] == 200
        yield client


async def admin(gateway: GatewayClient, path: str) -> object:
    status, answer, _ = await gateway.ask("GET", f"api/admin/{path}", token="admin-token")
    assert status == 200, answer
    return answer


async def test_usage_by_user_group_and_model(gateway: GatewayClient) -> None:
    usage = await admin(gateway, "usage")
    assert isinstance(usage, dict) and [(r["name"], r["calls"]) for r in usage["rows"]] == [
        ("alice", 2),
        ("bob", 1),
    ]
    assert usage["rows"][0] == {
        "name": "alice", "calls": 2, "input_tokens": 2, "output_tokens": 4, "cached_tokens": 0, "reasoning_tokens": 0,
        "usd": 0.000042, "lost": 0, "unpriced": 0,
    }  # fmt: skip
    by_group = await admin(gateway, "usage?by=group")
    assert isinstance(by_group, dict) and [(r["name"], r["calls"]) for r in by_group["rows"]] == [
        ("red", 3),
        ("blue", 1),
    ]
    by_model = await admin(gateway, "usage?by=model&from=2020-01-01&to=2099-01-01")
    assert isinstance(by_model, dict) and [r["name"] for r in by_model["rows"]] == ["openai:gpt-5-mini"]
    past = await admin(gateway, "usage?from=2020-01-01&to=2020-12-31")
    assert isinstance(past, dict) and past["rows"] == []


async def test_usage_as_files(gateway: GatewayClient) -> None:
    rows = list(csv.DictReader(io.StringIO(str(await admin(gateway, "usage?format=csv")))))
    assert [(row["name"], row["calls"]) for row in rows] == [("alice", "2"), ("bob", "1")]
    lines = str(await admin(gateway, "usage?format=jsonl")).splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["alice", "bob"]


async def test_metrics_are_prometheus_own(gateway: GatewayClient) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    text = str(await admin(gateway, "metrics"))
    samples = {
        (s.name, s.labels.get("user")): s.value for f in text_string_to_metric_families(text) for s in f.samples
    }
    assert samples["po_gateway_month_calls", "alice"] == 2 and samples["po_gateway_in_flight", None] == 0


@pytest.mark.parametrize(
    "query",
    [
        "by=x",
        "format=xml",
        "from=today",
        "to=2026",
        "by=user&by=model",
        "token=admin-token",
        "from=2026-11-27'",
    ],
)
async def test_a_query_that_is_none_is_refused(gateway: GatewayClient, query: str) -> None:
    assert (await gateway.ask("GET", f"api/admin/usage?{query}", token="admin-token"))[0] == 400


async def test_limits_change_without_a_restart_and_stay(gateway: GatewayClient) -> None:
    before = await admin(gateway, "limits")
    assert before == {"each_user": {"usd_per_day": 1.0}}
    book = {"each_user": {"usd_per_day": 0.0}, "groups": {"red": {"tokens_per_day": 5}}}
    status, answer, _ = await gateway.ask("PUT", "api/admin/limits", book, token="admin-token")
    assert status == 200 and answer == {
        "each_user": {"usd_per_day": 0.0},
        "groups": {"red": {"tokens_per_day": 5}},
    }
    status, refused = await gateway.chat()
    assert (status, refused["error"]["code"]) == (400, "invalid_request")
    text = gateway.state.file.path.read_text()
    assert "# the team's" in text and "usd_per_day: 0" in text and KEY not in text
    assert gateway.state.file.path.stat().st_mode & 0o077 == 0
    ((user, old, new),) = await gateway.state.ledger.change(
        lambda database: database.execute("SELECT username, before, after FROM changes")
    )
    assert (user, json.loads(str(old)), json.loads(str(new))) == ("root", before, answer)


@pytest.mark.parametrize(
    "book",
    [
        {"each_user": {"usd_per_day": -1}}, {"each_user": {"usd": 1}}, {"everybody": {}}, {"all": {"usd_per_day": "x"}},
        {"all": {"models": ["openai:gpt-4o"]}}, {"users": []}, {"all": {"concurrency": 1.5}}, {"users": {"a": None}},
    ],
)  # fmt: skip
async def test_limits_that_are_none_change_nothing(gateway: GatewayClient, book: object) -> None:
    before = gateway.state.file.path.read_bytes()
    status, answer, _ = await gateway.ask("PUT", "api/admin/limits", book, token="admin-token")
    assert status == 400 and answer["error"]["message"]
    assert gateway.state.file.path.read_bytes() == before and await admin(gateway, "limits") == {
        "each_user": {"usd_per_day": 1.0}
    }


async def test_a_file_that_was_changed_is_read_again(
    gateway: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = gateway.state.file.path
    path.write_text(path.read_text().replace("usd_per_day", "usd_per_month"))
    assert gateway.state.file.has_changed()
    gateway.state.reload_or_log()
    assert gateway.state.config.limits.each_user.usd_per_month == 1
    path.write_text("models: 5")
    gateway.state.reload_or_log()  # the old ones stay
    assert gateway.state.config.limits.each_user.usd_per_month == 1


async def test_two_changes_at_once_are_one_after_the_other(gateway: GatewayClient) -> None:
    books = [{"each_user": {"usd_per_day": n}} for n in range(1, 9)]
    answers = await asyncio.gather(
        *(gateway.ask("PUT", "api/admin/limits", book, token="admin-token") for book in books)
    )
    assert [status for status, _, _ in answers] == [200] * 8
    rows = await gateway.state.ledger.change(lambda database: database.execute("SELECT count(*) FROM changes"))
    assert rows == [(8,)]
