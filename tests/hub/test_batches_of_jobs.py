"""Batches whose model is named when they are made, Gemini's and Mistral's, by the product's own clients."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio

from po_jupyter.errors import ModelError
from po_jupyter.hub.batch_settlement import look_at_batches
from po_jupyter.llm.batches.protocol import Batches, BatchStatus, discard_upload
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.compatible.mistral import MistralBatches
from po_jupyter.llm.providers.gemini.batches import GeminiBatches
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.http import Http
from po_jupyter.testing.model_server import Reply
from po_jupyter.testing.model_server.batches import BatchServer, Fault
from tests.hub.test_program import program, usage
from tests.support.hub import KEY, GatewayClient, running, write_config

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]
MODELS = {"gemini": "gemini-2.5-flash", "mistral": "mistral-small-latest"}
BATCHES = {"gemini": "gemini/v1beta/batches", "mistral": "mistral/v1/batch/jobs"}
MAKERS = {"gemini": ":batchGenerateContent", "mistral": "/batch/jobs"}
ROW = 2 * 1000 + 1 * 10_000  # nano-dollars of an answer, without the rebate
Vendor = Literal["gemini", "mistral"]


@dataclass
class Person:
    """A user of the gateway, with the client of a vendor."""

    api: Batches
    folder: Path
    request: ChatRequest

    async def upload(self, rows: int = 3, token: str = "t-1", **fields: Any) -> str:
        path = self.folder / f"{token}.jsonl"
        request = replace(self.request, **fields)
        path.write_bytes(b"".join(self.api.line(f"{token}-{n}", request) + b"\n" for n in range(rows)))
        return await self.api.upload(path, token)

    async def make(self, rows: int = 3, token: str = "t-1", **fields: Any) -> str:
        file = await self.upload(rows, token, **fields)
        return await self.api.create(token, self.api.group(self.request), file)

    async def find(self, token: str) -> str | None:
        return (await self.api.find(token, since=0, count=1, others=())).id

    async def texts(self, status: BatchStatus) -> list[str]:
        path = self.folder / "results.jsonl"
        await self.api.download(status, path)
        lines = [self.api.parse_line(line) for line in path.read_bytes().splitlines()]
        return [self.api.read_response(self.request, line).text for line in lines if line is not None]


@pytest.fixture(params=["gemini", "mistral"])
def kind(request: pytest.FixtureRequest) -> Vendor:
    return request.param


@pytest.fixture
def vendor() -> Iterator[BatchServer]:
    with BatchServer(lambda body, id: Reply("fine")) as server:
        yield server


@pytest_asyncio.fixture
async def http() -> AsyncIterator[Http]:
    http = Http()
    yield http
    await http.aclose()


def person(url: str, kind: Vendor, http: Http, folder: Path, token: str = "alice-token") -> Person:
    base = f"{url}/{kind}" + ("/v1" if kind == "mistral" else "")
    make = GeminiBatches if kind == "gemini" else MistralBatches
    request = ChatRequest(
        model=f"{kind}:{MODELS[kind]}",
        messages=(Message(role="user", content="hello there"),),
        max_tokens=100,
        max_thinking_tokens=0,
    )
    return Person(make(ProviderEndpoint(base, token), http), folder, request)


@pytest_asyncio.fixture
async def gateway(tmp_path: Path, vendor: BatchServer) -> AsyncIterator[GatewayClient]:
    async with running(tmp_path, vendor.root_url, limits={"each_user": {"usd_per_day": 1}}) as client:
        yield client


@pytest.fixture
def alice(gateway: GatewayClient, kind: Vendor, http: Http, tmp_path: Path) -> Person:
    return person(gateway.url, kind, http, tmp_path)


@pytest.fixture
def bob(gateway: GatewayClient, kind: Vendor, http: Http, tmp_path: Path) -> Person:
    return person(gateway.url, kind, http, tmp_path, "bob-token")


def held(gateway: GatewayClient) -> float:
    rows = gateway.state.balances.windows("alice", (), gateway.state.clock())
    return next(
        r["reserved"] for r in rows if (r["scope"], r["window"], r["unit"]) == ("user:alice", "day", "usd")
    )


async def test_a_batch_is_reserved_in_full_and_settled_at_half_the_price(
    gateway: GatewayClient, vendor: BatchServer, alice: Person
) -> None:
    vendor.looks = 2
    file = await alice.upload(10)
    assert held(gateway) == 0
    id = await alice.api.create("t-1", alice.api.group(alice.request), file)
    assert 0.01 < held(gateway) < 0.05 and {key for _, _, key in vendor.requests} == {KEY}
    body = vendor.batches()[0].requests[0][1]
    assert 100 in (body.get("max_tokens"), body.get("generationConfig", {}).get("maxOutputTokens"))
    assert (await alice.api.status(id)).state == "working" and held(gateway) > 0
    ended = await alice.api.status(id)
    assert (ended.state, ended.total, ended.done) == ("ended", 10, 10)
    assert held(gateway) == 0 and await gateway.reserved() == 0
    assert await gateway.spent() == 10 * ROW / 2
    assert await alice.texts(ended) == ["fine"] * 10
    await alice.api.status(id)
    await look_at_batches(gateway.state)
    assert await gateway.spent() == 10 * ROW / 2  # once


async def test_what_nobody_asks_for_is_settled_as_well(gateway: GatewayClient, alice: Person) -> None:
    await alice.make(1)
    await look_at_batches(gateway.state)
    assert await gateway.spent() == ROW / 2 and held(gateway) == 0


async def test_another_users_files_and_batches_are_not_there(
    gateway: GatewayClient, vendor: BatchServer, kind: Vendor, alice: Person, bob: Person
) -> None:
    """Ids that are guessed or seen: the answer is the same as for one that nobody has, and the vendor is not asked."""
    file = await alice.upload(token="t-0")
    id = await alice.make()
    ended = await alice.api.status(id)
    asked = len(vendor.requests)
    for refused in (
        bob.api.status(id), bob.texts(ended),
        bob.api.create("t-0", bob.api.group(bob.request), file),
        alice.api.create("t-0", alice.api.group(alice.request), "files/of-the-team"), alice.api.status("batches/no"),
        alice.api.create("t-0", alice.api.group(alice.request), ended.results[0].split("/")[-1].partition(":")[0]),
    ):  # fmt: skip
        with pytest.raises(ModelError) as error:
            await refused
        assert error.value.http_status in (400, 404)
    file = file.removeprefix("files/")
    paths = {"gemini": (f"v1beta/files/{file}", f"download/v1beta/files/{file}:download?alt=media"),
             "mistral": (f"v1/files/{file}", f"v1/files/{file}/content")}[kind]  # fmt: skip
    cancel = f"batches/{id}:cancel" if kind == "gemini" else f"v1/batch/jobs/{id}/cancel"
    cancel = cancel.replace("batches/batches/", "v1beta/batches/")
    for method, path in (("DELETE", paths[0]), ("GET", paths[0]), ("GET", paths[1]), ("POST", cancel)):
        theirs = await gateway.ask(method, f"{kind}/{path}", token="bob-token")
        unknown = path.replace(file, "nothing").replace(id.removeprefix("batches/"), "nothing")
        nobodys = await gateway.ask(method, f"{kind}/{unknown}", token="bob-token")
        assert theirs[0] == nobodys[0] == 404 and theirs[1]["error"]["code"] == nobodys[1]["error"]["code"]
    assert len(vendor.requests) == asked


async def test_a_list_has_the_users_own(
    gateway: GatewayClient, kind: Vendor, alice: Person, bob: Person
) -> None:
    made = [await (alice, bob)[n % 2].make(1, f"t-{n}") for n in range(4)]
    listed = (await gateway.ask("GET", BATCHES[kind]))[1]
    rows = listed["operations" if kind == "gemini" else "data"]
    assert [row["name" if kind == "gemini" else "id"] for row in rows] == [made[2], made[0]]
    assert made[1] not in json.dumps(listed) and await alice.find("t-2") == made[2]
    assert await alice.find("t-1") is None and await bob.find("t-1") == made[1]
    sizes, pages = {"gemini": ("pageSize", "pageToken"), "mistral": ("page_size", "page")}[kind]
    _, second, _ = await gateway.ask("GET", f"{BATCHES[kind]}?{sizes}=1&{pages}=1")
    assert made[0] in json.dumps(second) and made[2] not in json.dumps(second)


async def test_the_file_of_a_batch_is_deleted_once_it_is_settled(
    tmp_path: Path, vendor: BatchServer, kind: Vendor, http: Http
) -> None:
    """Of the vendor that keeps it: what it counted towards the bytes of its user is free again."""
    async with running(tmp_path, vendor.root_url, more="max_kept: 1000") as gateway:
        alice = person(gateway.url, kind, http, tmp_path)
        for n in range(20 if kind == "mistral" else 1):
            status = await alice.api.status(await alice.make(1, f"t-{n}"))
            assert len(status.uploads) == (kind == "mistral")
            for uploaded in status.uploads:
                await discard_upload(alice.api, uploaded)
                with pytest.raises(ModelError):
                    await discard_upload(alice.api, uploaded)
        assert await gateway.spent() == (n + 1) * ROW / 2 and held(gateway) == 0


async def test_the_edge_of_a_budget_holds(
    gateway: GatewayClient, vendor: BatchServer, kind: Vendor, alice: Person
) -> None:
    """A batch that fits into what is left of the day goes out, and one more row does not."""
    with pytest.raises(ModelError, match="the whole day's budget"):
        await alice.make(11, max_tokens=10_000)  # $1.10 and a day has $1
    assert vendor.batches() == [] and held(gateway) == 0 and await gateway.reserved() == 0
    vendor.hold()
    await alice.make(9, "t-2", max_tokens=10_000)
    file = await alice.upload(1, "t-3", max_tokens=10_000)
    with pytest.raises(ModelError) as refused:
        await alice.api.create("t-3", alice.api.group(alice.request), file)
    assert refused.value.gateway == "budget_exceeded" and len(vendor.batches()) == 1 and held(gateway) < 1


async def test_a_batch_whose_answer_was_lost_is_found_by_its_maker(
    tmp_path: Path, vendor: BatchServer, kind: Vendor, http: Http
) -> None:
    """And by nobody else, also when the gateway ended in between; until then it is reserved in full."""
    vendor.faults.append(Fault("POST", MAKERS[kind], status=0, done=True))
    async with running(tmp_path, vendor.root_url) as gateway:
        with pytest.raises(ModelError):
            await person(gateway.url, kind, http, tmp_path).make(1)
        before = held(gateway)
    async with running(tmp_path, vendor.root_url) as gateway:
        assert held(gateway) == before > 0 and len(vendor.batches()) == 1
        alice = person(gateway.url, kind, http, tmp_path)
        assert await person(gateway.url, kind, http, tmp_path, "bob-token").find("t-1") is None
        id = await alice.find("t-1")
        assert id is not None and (await alice.api.status(id)).state == "ended"
        assert await gateway.spent() == ROW / 2 and held(gateway) == 0 and await gateway.reserved() == 0


async def test_killed_between_making_and_settling_it_settles_once(
    tmp_path: Path, vendor: BatchServer, kind: Vendor, http: Http
) -> None:
    """The program is killed with one batch made, and with another whose answer it still waits for."""
    write_config(tmp_path, vendor.root_url)
    vendor.hold()
    environ = {"TEAM_KEY": KEY}
    with program(tmp_path, **environ) as (child, url):
        alice = person(url, kind, http, tmp_path)
        made = await alice.make(2, "t-1")
        vendor.faults.append(Fault("POST", MAKERS[kind], status=0, done=True))
        with pytest.raises(ModelError):
            await alice.make(1, "t-2")
        child.kill()
        child.wait()
    vendor.release()
    with program(tmp_path, **environ) as (child, url):
        alice = person(url, kind, http, tmp_path)
        assert (await alice.api.status(made)).state == "ended"
        child.kill()
        child.wait()
    with program(tmp_path, **environ) as (_, url):
        alice = person(url, kind, http, tmp_path)
        found = await alice.find("t-2")
        assert found is not None
        for id in (made, found):
            assert (await alice.api.status(id)).state == "ended"
        row = usage(url)
        assert (row["used"], row["reserved"]) == (pytest.approx(3 * ROW / 2 / 1e9), 0)
    assert len(vendor.batches()) == 2


async def test_a_refused_batch_holds_nothing(
    gateway: GatewayClient, vendor: BatchServer, kind: Vendor, alice: Person
) -> None:
    vendor.faults.append(Fault("POST", MAKERS[kind], status=400))
    with pytest.raises(ModelError):
        await alice.make(1)
    assert (held(gateway), await gateway.reserved(), await gateway.spent()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("end", "counted"),
    [("lost", "in full"), ("cancel", "answered"), ("expire", "answered"), ("refuse", "none")],
)
async def test_lines_without_a_result_count_by_how_the_batch_ended(
    gateway: GatewayClient, vendor: BatchServer, kind: Vendor, alice: Person, end: str, counted: str
) -> None:
    if end == "lost":
        vendor.lost = {1}
    elif end == "refuse":
        vendor.refuse = [{"code": 3, "message": "no"}]
    else:
        vendor.hold()
        vendor.finished = 1
    id = await alice.make(2, "t")
    most = held(gateway)
    if end == "cancel":
        await alice.api.cancel(id)
    elif end == "expire":
        vendor.expire()
    assert (await alice.api.status(id)).state == "ended"
    answered = 0 if end == "refuse" or (kind, end) == ("gemini", "expire") else ROW // 2
    full = most / 2 * 1e9 if counted == "in full" else 0
    assert await gateway.spent() == pytest.approx(answered + full, abs=2) and held(gateway) == 0


async def test_a_model_outside_of_the_users_list_is_refused(
    tmp_path: Path, vendor: BatchServer, kind: Vendor, http: Http
) -> None:
    """By its name, by an alias, with a file of another one; and a file that was uploaded before the model was there."""
    limits = {"each_user": {"models": [f"{kind}:{MODELS[kind]}", "small"]}}
    async with running(tmp_path, vendor.root_url, limits=limits) as gateway:
        alice = person(gateway.url, kind, http, tmp_path)
        file = await alice.upload(1)
        for name in ("gemini-2.5-pro", "gemini-embedding-001", "mistral-embed", "small", "gpt-5-mini"):
            group = f"models/{name}" if kind == "gemini" else name
            with pytest.raises(ModelError) as refused:
                await alice.api.create("t-1", group, file)
            assert refused.value.gateway == "model_not_allowed"
        assert vendor.batches() == [] and held(gateway) == 0
        limits["each_user"]["models"].append(
            {"gemini": "gemini:gemini-embedding-001", "mistral": "mistral:mistral-embed"}[kind]
        )
        running_file = tmp_path / "limits.yaml"
        text = running_file.read_text()
        running_file.write_text(text[: text.rindex("limits:")] + f"limits: {json.dumps(limits)}\n")
        gateway.state.reload()
        later = limits["each_user"]["models"][-1].partition(":")[2]
        with pytest.raises(ModelError, match="upload it again"):
            await alice.api.create("t-1", f"models/{later}" if kind == "gemini" else later, file)


GOOD: dict[str, dict[str, Any]] = {
    "gemini": {"key": "a", "request": {"contents": [{"parts": [{"text": "x"}]}]}},
    "mistral": {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "x"}]}},
}


@pytest.mark.parametrize(
    "change",
    [
        {"key": 5, "custom_id": 5}, {"body": 5, "request": 5}, {"method": "POST"}, {"model": "x"},
        {"request": {"model": "models/other", "contents": []}, "body": {"model": "other", "messages": []}},
        {"request": {"cachedContent": "x"}, "body": {"agent_id": "x", "messages": []}},
        {"request": {"contents": [], "generationConfig": {"maxOutputTokens": -1}},
         "body": {"messages": [], "max_tokens": -1}},
        {"request": {"contents": [{"parts": [{"fileData": {"fileUri": "files/x"}}]}]},
         "body": {"messages": [{"role": "user", "content": [{"type": "document_url"}]}]}},
        {"request": {"contents": [], "tools": [{"googleSearch": {}}]}, "body": {"messages": [], "stream": True}},
    ],
)  # fmt: skip
async def test_a_line_that_could_not_be_called_is_not_uploaded(
    gateway: GatewayClient, vendor: BatchServer, kind: Vendor, alice: Person, change: dict[str, Any]
) -> None:
    names = set(GOOD[kind]) | {"method", "model"}
    bad = GOOD[kind] | {name: value for name, value in change.items() if name in names}
    path = alice.folder / "x.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in (GOOD[kind], bad)))
    with pytest.raises(ModelError) as refused:
        await alice.api.upload(path, "x")
    assert refused.value.gateway == "invalid_request" and vendor.requests == []


BAD_JOBS: dict[str, list[dict[str, Any]]] = {
    "gemini": [
        {}, {"batch": 5}, {"batch": {"inputConfig": {"fileName": "F", "x": 1}}},
        {"batch": {"inputConfig": {"fileName": "F"}}, "model": "x"},
        {"batch": {"displayName": 5, "inputConfig": {"fileName": "F"}}},
        {"batch": {"inputConfig": {"requests": {"requests": [{"request": {"contents": []}}]}}}},
        {"batch": {"priority": "9", "inputConfig": {"fileName": "F"}}},
        {"batch": {"input_config": {"fileName": "F"}, "inputConfig": {"fileName": "F"}}},
    ],
    "mistral": [
        {"input_files": None}, {"input_files": ["F", "G"]}, {"endpoint": "/v1/embeddings"}, {"model": None},
        {"agent_id": "x"}, {"metadata": 5}, {"timeout_hours": True}, {"timeout_hours": 1000},
        {"requests": [{"custom_id": "a", "body": {}}]},
    ],
}  # fmt: skip


async def test_a_batch_that_could_not_be_counted_is_not_made(
    gateway: GatewayClient, vendor: BatchServer, kind: Vendor, alice: Person
) -> None:
    file = await alice.upload(1)
    good = {"input_files": ["F"], "model": MODELS[kind], "endpoint": "/v1/chat/completions"}
    path = f"v1beta/models/{MODELS[kind]}:batchGenerateContent" if kind == "gemini" else "v1/batch/jobs"
    for bad in BAD_JOBS[kind]:
        sent = json.dumps(good | bad if kind == "mistral" else bad).replace('"F"', f'"{file}"')
        status, answer, _ = await gateway.ask("POST", f"{kind}/{path}", sent.encode())
        assert status == 400 and answer["error"]["code"] == "invalid_request", bad
    assert len(vendor.requests) == 1 and held(gateway) == 0
