"""Files and batches through the gateway: whose they are, what is reserved for them, what they are settled by."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from po_jupyter.hub.batch_settlement import look_at_batches
from po_jupyter.testing.model_server.batches import BatchServer, Fault
from tests.support.hub import KEY, GatewayClient, running

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]


@pytest.fixture
def vendor() -> Iterator[BatchServer]:
    with BatchServer() as server:
        yield server


@pytest_asyncio.fixture
async def gateway(tmp_path: Path, vendor: BatchServer) -> AsyncIterator[GatewayClient]:
    async with running(tmp_path, vendor.root_url, limits={"each_user": {"usd_per_day": 1}}) as client:
        yield client


def line(row: int, /, **fields: object) -> dict[str, Any]:
    body = {
        "model": "gpt-5-mini",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hello there"}],
        **fields,
    }
    return {"custom_id": f"row-{row}", "method": "POST", "url": "/v1/chat/completions", "body": body}


async def upload(
    gateway: GatewayClient, lines: list[dict[str, Any]], *, token: str = "alice-token", purpose: str = "batch"
) -> tuple[int, Any]:
    form = aiohttp.FormData({"purpose": purpose})
    data = "".join(f"{json.dumps(row)}\n" for row in lines).encode()
    form.add_field("file", data, filename="x.jsonl", content_type="application/jsonl")
    async with gateway.session.post(
        f"{gateway.url}/openai/v1/files", data=form, headers={"Authorization": f"Bearer {token}"}
    ) as response:
        return response.status, await response.json()


async def create(
    gateway: GatewayClient, file: str, *, token: str = "alice-token", **fields: object
) -> tuple[int, Any]:
    body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h", **fields}
    status, answer, _ = await gateway.ask("POST", "openai/v1/batches", body, token=token)
    return status, answer


def held(gateway: GatewayClient) -> float:
    rows = gateway.state.balances.windows("alice", (), gateway.state.clock())
    return next(
        r["reserved"] for r in rows if (r["scope"], r["window"], r["unit"]) == ("user:alice", "day", "usd")
    )


async def test_a_batch_is_reserved_in_full_and_settled_at_half_the_price(
    gateway: GatewayClient, vendor: BatchServer
) -> None:
    vendor.looks = 2
    status, file = await upload(gateway, [line(n) for n in range(10)])
    assert status == 200 and held(gateway) == 0
    status, batch = await create(gateway, file["id"], metadata={"mine": "1"})
    assert status == 200 and 0.01 < held(gateway) < 0.05
    assert vendor.batches()[0].requests[0][1]["max_completion_tokens"] == 100
    for expected in ("in_progress", "completed"):
        status, batch, _ = await gateway.ask("GET", f"openai/v1/batches/{batch['id']}")
        assert batch["status"] == expected and batch["metadata"]["mine"] == "1"
    assert held(gateway) == 0 and await gateway.reserved() == 0
    assert await gateway.spent() == 10 * (2 * 1000 + 3 * 10_000) / 2
    status, text, _ = await gateway.ask("GET", f"openai/v1/files/{batch['output_file_id']}/content")
    assert status == 200 and len(text.splitlines()) == 10
    await gateway.ask("GET", f"openai/v1/batches/{batch['id']}")
    assert await gateway.spent() == 10 * 16_000  # once


async def test_what_nobody_asks_for_is_settled_as_well(gateway: GatewayClient, vendor: BatchServer) -> None:
    _, file = await upload(gateway, [line(1)])
    await create(gateway, file["id"])
    await look_at_batches(gateway.state)
    assert await gateway.spent() == 16_000 and held(gateway) == 0


@pytest.mark.parametrize("path", ["/batches/", "/files/"])
async def test_what_its_vendor_has_no_more_counts_in_full_after_a_day(
    tmp_path: Path, vendor: BatchServer, path: str
) -> None:
    """A vendor deletes results after a while; the reservation of a batch that nobody had read by then stayed."""
    now = 1_800_000_000.0
    async with running(tmp_path, vendor.root_url, clock=lambda: now) as gateway:
        _, file = await upload(gateway, [line(1)])
        await create(gateway, file["id"])
        vendor.faults.append(Fault("GET", path, status=404, times=9))
        await look_at_batches(gateway.state)
        assert (await gateway.reserved(), await gateway.spent()) == (1, 0)
        now += 27 * 3600
        await look_at_batches(gateway.state)
        assert await gateway.reserved() == 0
        assert await gateway.spent() > 16_000  # more than it took: all that might have been


async def test_another_users_files_and_batches_are_not_there(
    gateway: GatewayClient, vendor: BatchServer
) -> None:
    """Ids that are guessed or seen: the answer is the same as for one that nobody has."""
    _, file = await upload(gateway, [line(1)])
    _, batch = await create(gateway, file["id"])
    await gateway.ask("GET", f"openai/v1/batches/{batch['id']}")
    ids = [f"files/{file['id']}", f"files/{file['id']}/content", f"files/output-of-{batch['id']}/content",
           f"batches/{batch['id']}"]  # fmt: skip
    asked = len(vendor.requests)
    for path in ids:
        nobody = "/".join("nothing" if part in (file["id"], batch["id"]) else part for part in path.split("/"))
        theirs = await gateway.ask("GET", f"openai/v1/{path}", token="bob-token")
        none = await gateway.ask("GET", f"openai/v1/{nobody}", token="bob-token")
        assert theirs[0] == none[0] == 404 and theirs[1]["error"]["code"] == none[1]["error"]["code"]
    for method, path in (("DELETE", f"files/{file['id']}"), ("POST", f"batches/{batch['id']}/cancel")):
        assert (await gateway.ask(method, f"openai/v1/{path}", token="bob-token"))[0] == 404
    assert (await create(gateway, file["id"], token="bob-token"))[0] == 404
    assert (await create(gateway, "file-of-the-team"))[0] == 404
    assert len(vendor.requests) == asked  # the vendor was not even asked


async def test_a_list_has_the_users_own(gateway: GatewayClient, vendor: BatchServer) -> None:
    made = []
    for n in range(4):
        _, file = await upload(gateway, [line(n)], token=("alice-token", "bob-token")[n % 2])
        _, batch = await create(gateway, file["id"], token=("alice-token", "bob-token")[n % 2])
        made.append(batch["id"])
    _, listed, _ = await gateway.ask("GET", "openai/v1/batches")
    assert [row["id"] for row in listed["data"]] == [made[2], made[0]] and listed["has_more"] is False
    _, page, _ = await gateway.ask("GET", "openai/v1/batches?limit=1")
    assert [row["id"] for row in page["data"]] == [made[2]] and page["has_more"] is True
    _, page, _ = await gateway.ask("GET", f"openai/v1/batches?limit=1&after={page['last_id']}")
    assert [row["id"] for row in page["data"]] == [made[0]] and page["has_more"] is False
    assert (await gateway.ask("GET", f"openai/v1/batches?after={made[1]}"))[0] == 404
    assert made[1] not in json.dumps(listed)


async def test_a_budget_holds_for_batches(gateway: GatewayClient, vendor: BatchServer) -> None:
    _, file = await upload(gateway, [line(n, max_tokens=10_000) for n in range(11)])  # $1.10 and a day has $1
    status, answer = await create(gateway, file["id"])
    assert (status, answer["error"]["code"]) == (400, "invalid_request") and vendor.batches() == []
    assert held(gateway) == 0 and await gateway.reserved() == 0


@pytest.mark.parametrize(
    "bad",
    [
        line(1, model="gpt-4o"), line(1, stream=True), line(1, max_tokens=-1), line(1, n=1000),
        {**line(1), "url": "/v1/x"},
        {**line(1), "url": "/v1/responses"}, {**line(1), "method": "GET"}, {"custom_id": "x"},
        {**line(1), "body": None},
        line(1, service_tier="priority"), {**line(1), "url": ["/v1/responses"]},
    ],
)  # fmt: skip
async def test_a_line_that_could_not_be_called_is_not_uploaded(
    gateway: GatewayClient, vendor: BatchServer, bad: dict[str, Any]
) -> None:
    status, answer = await upload(gateway, [line(0), bad])
    assert status in (400, 403) and vendor.requests == [] and answer["error"]["code"]


async def test_an_upload_for_something_else_is_refused(gateway: GatewayClient, vendor: BatchServer) -> None:
    assert (await upload(gateway, [line(0)], purpose="fine-tune"))[0] == 400
    assert (await upload(gateway, []))[0] == 400
    for body, kind in (
        (b"x", "text/plain"),
        (b"--b\r\n", "multipart/form-data; boundary=b"),
        (b"x", "multipart/form-data"),
    ):
        assert (await gateway.ask("POST", "openai/v1/files", body, Content_Type=kind))[0] == 400
    assert vendor.requests == []


async def test_a_batch_whose_answer_was_lost_is_found_in_the_list(
    gateway: GatewayClient, vendor: BatchServer
) -> None:
    """And not made a second time by who looks for it there; until then it is reserved in full."""
    _, file = await upload(gateway, [line(1)])
    vendor.faults.append(Fault("POST", "/batches", status=0, done=True))
    status, _ = await create(gateway, file["id"], metadata={"po_jupyter": "t"})
    assert status == 503 and held(gateway) > 0 and len(vendor.batches()) == 1
    assert (await gateway.ask("GET", "openai/v1/batches", token="bob-token"))[1]["data"] == []
    _, listed, _ = await gateway.ask("GET", "openai/v1/batches")
    (found,) = listed["data"]
    assert found["metadata"]["po_jupyter"] == "t"
    await gateway.ask("GET", f"openai/v1/batches/{found['id']}")
    assert await gateway.spent() == 16_000 and held(gateway) == 0


async def test_a_batch_outlives_the_gateway(tmp_path: Path, vendor: BatchServer) -> None:
    async with running(tmp_path, vendor.root_url) as gateway:
        _, file = await upload(gateway, [line(n) for n in range(3)])
        _, batch = await create(gateway, file["id"])
        before = held(gateway)
    async with running(tmp_path, vendor.root_url) as gateway:
        assert held(gateway) == before > 0
        await gateway.ask("GET", f"openai/v1/batches/{batch['id']}")
        assert await gateway.spent() == 3 * 16_000 and held(gateway) == 0


async def test_lines_without_a_result_count_in_full(gateway: GatewayClient, vendor: BatchServer) -> None:
    vendor.lost = {1}
    _, file = await upload(gateway, [line(n) for n in range(2)])
    _, batch = await create(gateway, file["id"])
    most = held(gateway)
    await gateway.ask("GET", f"openai/v1/batches/{batch['id']}")
    assert await gateway.spent() == pytest.approx(16_000 + most / 2 * 1e9, abs=2)


async def test_a_cancelled_batch_costs_what_was_answered(gateway: GatewayClient, vendor: BatchServer) -> None:
    vendor.hold()
    vendor.finished = 1
    _, file = await upload(gateway, [line(n) for n in range(5)])
    _, batch = await create(gateway, file["id"])
    assert (await gateway.ask("POST", f"openai/v1/batches/{batch['id']}/cancel"))[0] == 200
    _, ended, _ = await gateway.ask("GET", f"openai/v1/batches/{batch['id']}")
    assert ended["status"] == "cancelled" and await gateway.spent() == 16_000 and held(gateway) == 0


async def test_batches_of_messages(gateway: GatewayClient, vendor: BatchServer) -> None:
    params = {
        "model": "claude-haiku-4-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hello there"}],
    }
    body = {"requests": [{"custom_id": f"row-{n}", "params": params} for n in range(4)]}
    path = "anthropic/v1/messages/batches"
    status, batch, _ = await gateway.ask("POST", path, body, token="", x_api_key="alice-token")
    assert status == 200 and 0.004 < held(gateway) < 0.02
    assert (await gateway.ask("GET", f"{path}/{batch['id']}", token="bob-token"))[0] == 404
    assert (await gateway.ask("GET", f"{path}/{batch['id']}/results", token="bob-token"))[0] == 404
    _, ended, _ = await gateway.ask("GET", f"{path}/{batch['id']}")
    assert (
        ended["results_url"] == f"/v1/messages/batches/{batch['id']}/results"
    )  # never the vendor's own address
    assert await gateway.spent() == 4 * 16_000 and held(gateway) == 0
    status, text, _ = await gateway.ask("GET", f"{path}/{batch['id']}/results")
    assert status == 200 and len(text.splitlines()) == 4 and KEY not in text
    _, listed, _ = await gateway.ask("GET", path)
    assert [row["id"] for row in listed["data"]] == [batch["id"]]
    for bad in ({"requests": []}, {"requests": [{"custom_id": "x"}]}, {**body, "x": 1}, {"requests": [1]}):
        assert (await gateway.ask("POST", path, bad))[0] == 400
